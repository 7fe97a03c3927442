// A vSphere simulator that keeps what is uploaded, and fails when it is told to.
//
// It is govmomi's simulator (Debian: golang-github-vmware-govmomi-dev) as ESXi or as vCenter, with three things around
// it: every upload through a lease is stored and hashed; a lease knows states other than "ready"; and a test sets, by
// PUT /test/faults, what goes wrong. GET /test/seen tells what came.
package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"hash"
	"io"
	"io/ioutil"
	"log"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Faults is what a test asks for; nothing goes wrong when it is empty.
type Faults struct {
	At           int64  // percent of an upload that is read before Action
	Action       string // cut, half-answer, drip, status, stall, lease-error, expire
	Status       int    // of the answer
	PauseMs      int    // before each piece of an upload
	Initializing int    // milliseconds in which a new lease is not ready
	Complete     string // message of the fault that ends Complete
	LeaveGroup   bool   // the vApp of such a lease stays
	NoStart      string // name of a machine in a vApp that cannot be started
	Missing      bool   // Complete succeeds, and the machine is gone
	LoseAnswer   bool   // a machine is made, or the first one of a vApp, and nobody hears of it
	Refuse       string // message of the fault that is answered then, in place of the lease
	LeaseFault   string // kind of the fault by which a lease ends before it is ready: DuplicateName, NoDiskSpace
	KeepMachine  bool   // it cannot be removed
	DeafBeats    int    // so many reports of progress get no answer
	DeviceUrl    string // in place of the URLs of a lease
	DeviceHost   string // host in the URLs of a lease, in place of "*"
	Thumbprint   string // of that host
	Warning      string // of CreateImportSpec and CreateDescriptor
	NoDigests    bool   // an import's lease does not tell what it received
	WrongDigest  bool   // it tells something else
	Export       Export
}

// Upload is one request to a lease's URL.
type Upload struct {
	Method, Path, Type, Overwrite, Sha256, File string
	Length, Size                                int64
}

// Seen is what happened since the faults were set.
type Seen struct {
	Uploads                        []Upload
	Downloads                      []Download
	Progress                       []int32
	Digests                        []string // what each lease was asked to hash by, when it was asked for digests
	Aborts, Completes, Descriptors int
}

var (
	mutex   sync.Mutex
	faults  Faults
	seen    Seen
	leases  = map[string]*lease{}
	number  int // of uploads, ever
	content types.ServiceContent
	store   = flag.String("store", "", "folder for what is uploaded; it is only hashed when there is none")
	vcenter = flag.Bool("vcenter", false, "a vCenter; an ESXi without")
	user    = flag.String("user", "root", "who may log in")
	api     = flag.String("api", "", "version of the API that it says to have")
	certs   = flag.String("cert", "", "PEM file with the server's certificate and key")
)

func now() Faults {
	mutex.Lock()
	defer mutex.Unlock()
	return faults
}

// Wrappers hold what they wrap by value: the simulator looks for its own kinds in the first field.

type pool struct{ simulator.ResourcePool }

func (p *pool) ImportVApp(ctx *simulator.Context, req *types.ImportVApp) soap.HasFault {
	var res *methods.ImportVAppBody
	if spec, isGroup := req.Spec.(*types.VirtualAppImportSpec); isGroup {
		res = p.importGroup(ctx, req, spec)
	} else {
		res, _ = p.importOne(ctx, req)
	}
	if res.Fault_ == nil {
		if fault := perhapsFail(); fault != nil {
			return &methods.ImportVAppBody{Fault_: fault}
		}
	}
	return res
}

// perhapsFail ends an answer before it has begun, or makes a fault of it; what was made stays.
func perhapsFail() *soap.Fault {
	if now().LoseAnswer {
		panic(http.ErrAbortHandler)
	}
	if message := now().Refuse; message != "" {
		return simulator.Fault(message, &types.FileFault{File: "disk"})
	}
	return nil
}

// importOne makes a machine, and a lease of our own for it.
func (p *pool) importOne(ctx *simulator.Context, req *types.ImportVApp) (*methods.ImportVAppBody, *lease) {
	body := p.ResourcePool.ImportVApp(ctx, req).(*methods.ImportVAppBody)
	if body.Fault_ != nil {
		return body, nil
	}
	wanted := now()
	made := &lease{HttpNfcLease: *ctx.Session.Get(body.Res.Returnval).(*simulator.HttpNfcLease)}
	if wanted.KeepMachine {
		vm := simulator.Map.Get(made.Info.Entity).(*simulator.VirtualMachine)
		vm.DisabledMethod = append(vm.DisabledMethod, "DestroyTask")
	}
	for i := range made.Info.DeviceUrl {
		if wanted.DeviceUrl != "" {
			made.Info.DeviceUrl[i].Url = wanted.DeviceUrl
		}
		if wanted.DeviceHost != "" {
			device := &made.Info.DeviceUrl[i]
			device.Url = strings.Replace(device.Url, "*", wanted.DeviceHost, 1)
			device.SslThumbprint = wanted.Thumbprint
		}
	}
	made.initialize(wanted.Initializing)
	made.refuse(ctx, wanted.LeaseFault)
	ctx.Session.Put(made)
	mutex.Lock()
	leases[body.Res.Returnval.Value] = made
	mutex.Unlock()
	return body, made
}

type lease struct {
	simulator.HttpNfcLease
	algorithm string // that was asked for, besides SHA-1
}

// initialize lets the lease be ready only after so many milliseconds.
func (l *lease) initialize(milliseconds int) {
	if milliseconds > 0 {
		l.State = types.HttpNfcLeaseStateInitializing
		time.AfterFunc(time.Duration(milliseconds)*time.Millisecond, func() {
			l.State = types.HttpNfcLeaseStateReady
		})
	}
}

// refuse ends a lease before it is ready: what was made for it goes, and it tells no more than why.
func (l *lease) refuse(ctx *simulator.Context, kind string) {
	reasons := map[string]types.BaseMethodFault{"DuplicateName": &types.DuplicateName{Object: l.Info.Entity}, "NoDiskSpace": &types.NoDiskSpace{}}
	reason, isWanted := reasons[kind]
	if !isWanted {
		return
	}
	simulator.Map.Get(l.Info.Entity).(*simulator.VirtualMachine).DestroyTask(ctx, &types.Destroy_Task{This: l.Info.Entity})
	l.Info = nil
	l.Error = &types.LocalizedMethodFault{Fault: reason}
	l.State = types.HttpNfcLeaseStateError
}

func (l *lease) fail(message string) {
	l.Error = &types.LocalizedMethodFault{Fault: &types.FileFault{File: "disk"}, LocalizedMessage: message}
	l.State = types.HttpNfcLeaseStateError
}

func (l *lease) broken() *soap.Fault {
	if l.State != types.HttpNfcLeaseStateError {
		return nil
	}
	return simulator.Fault("The operation is not allowed in the current state.", &types.InvalidState{})
}

func (l *lease) HttpNfcLeaseProgress(ctx *simulator.Context, req *types.HttpNfcLeaseProgress) soap.HasFault {
	mutex.Lock()
	seen.Progress = append(seen.Progress, req.Percent)
	isDeaf := len(seen.Progress) <= faults.DeafBeats
	mutex.Unlock()
	if isDeaf {
		panic(http.ErrAbortHandler)
	}
	if fault := l.broken(); fault != nil {
		return &methods.HttpNfcLeaseProgressBody{Fault_: fault}
	}
	return l.HttpNfcLease.HttpNfcLeaseProgress(ctx, req)
}

func (l *lease) HttpNfcLeaseComplete(ctx *simulator.Context, req *types.HttpNfcLeaseComplete) soap.HasFault {
	wanted, fault := now(), l.broken()
	if wanted.Complete != "" {
		fault = simulator.Fault(wanted.Complete, &types.FileFault{File: "disk"})
	}
	if fault != nil {
		return &methods.HttpNfcLeaseCompleteBody{Fault_: fault}
	}
	mutex.Lock()
	seen.Completes++
	mutex.Unlock()
	if wanted.Missing {
		machine := simulator.Map.Get(l.Info.Entity).(*simulator.VirtualMachine)
		machine.DestroyTask(ctx, &types.Destroy_Task{This: machine.Self})
	}
	return l.HttpNfcLease.HttpNfcLeaseComplete(ctx, req)
}

func (l *lease) HttpNfcLeaseAbort(ctx *simulator.Context, req *types.HttpNfcLeaseAbort) soap.HasFault {
	mutex.Lock()
	seen.Aborts++
	mutex.Unlock()
	return l.HttpNfcLease.HttpNfcLeaseAbort(ctx, req)
}

func (l *lease) HttpNfcLeaseSetManifestChecksumType(req *types.HttpNfcLeaseSetManifestChecksumType) soap.HasFault {
	for _, wanted := range req.DeviceUrlsToChecksumTypes {
		l.algorithm = wanted.Value
	}
	return &methods.HttpNfcLeaseSetManifestChecksumTypeBody{Res: new(types.HttpNfcLeaseSetManifestChecksumTypeResponse)}
}

// HttpNfcLeaseGetManifest hashes what came for each device as ESXi does: a disk to its end-of-stream marker.
func (l *lease) HttpNfcLeaseGetManifest(req *types.HttpNfcLeaseGetManifest) soap.HasFault {
	body := &methods.HttpNfcLeaseGetManifestBody{}
	wanted := now()
	if wanted.NoDigests || *store == "" {
		body.Fault_ = simulator.Fault("", &types.MethodNotFound{Receiver: l.Self, Method: "HttpNfcLeaseGetManifest"})
		return body
	}
	body.Res = new(types.HttpNfcLeaseGetManifestResponse)
	mutex.Lock()
	defer mutex.Unlock()
	seen.Digests = append(seen.Digests, l.algorithm)
	for _, device := range l.Info.DeviceUrl {
		place, _ := url.PathUnescape(device.Url)
		for _, each := range seen.Uploads {
			if !strings.HasSuffix(place, each.Path) {
				continue
			}
			data, err := ioutil.ReadFile(each.File)
			if err != nil {
				log.Fatal(err)
			}
			if each.Method == http.MethodPost {
				end := (len(bytes.TrimRight(data, "\x00"))+511)/512*512 + 512
				if end < len(data) {
					data = data[:end]
				}
			}
			if wanted.WrongDigest {
				data = append(data, '!')
			}
			entry := types.HttpNfcLeaseManifestEntry{
				Key: device.Key, Sha1: fmt.Sprintf("%x", sha1.Sum(data)), Size: int64(len(data)), Disk: true,
			}
			if l.algorithm == "sha256" {
				entry.ChecksumType, entry.Checksum = l.algorithm, fmt.Sprintf("%x", sha256.Sum256(data))
			}
			body.Res.Returnval = append(body.Res.Returnval, entry)
		}
	}
	return body
}

type manager struct{ simulator.OvfManager }

func (m *manager) CreateImportSpec(ctx *simulator.Context, req *types.CreateImportSpec) soap.HasFault {
	if top := topOf(req.OvfDescriptor); top.isGroup {
		return m.importSpecOf(ctx, req, top)
	}
	res := m.OvfManager.CreateImportSpec(ctx, req)
	if warning := now().Warning; warning != "" && res.Fault() == nil {
		result := &res.(*methods.CreateImportSpecBody).Res.Returnval
		result.Warning = append(result.Warning, types.LocalizedMethodFault{
			Fault: &types.OvfWrongElement{}, LocalizedMessage: warning,
		})
	}
	return res
}

// expire ends every session, as an idle timeout would.
func expire() {
	nobody := &simulator.Session{Registry: simulator.NewRegistry()}
	manager := nobody.Get(*content.SessionManager).(*simulator.SessionManager)
	ctx := &simulator.Context{Context: context.Background(), Map: simulator.Map, Session: nobody}
	for _, session := range manager.SessionList {
		manager.TerminateSession(ctx, &types.TerminateSession{SessionId: []string{session.Key}})
	}
}

// body is an upload on its way: stored, hashed, and perhaps broken off.
type body struct {
	io.ReadCloser
	file    io.Writer
	hash    hash.Hash
	size    int64
	trigger int64
	act     func()
}

func (b *body) Read(data []byte) (int, error) {
	if b.act != nil && b.size >= b.trigger {
		act := b.act
		b.act = nil
		act()
	}
	if b.act != nil && int64(len(data)) > b.trigger-b.size {
		data = data[:b.trigger-b.size]
	}
	time.Sleep(time.Duration(now().PauseMs) * time.Millisecond)
	n, err := b.ReadCloser.Read(data)
	b.hash.Write(data[:n])
	_, _ = b.file.Write(data[:n])
	b.size += int64(n)
	if err == io.EOF && b.act != nil && b.size >= b.trigger {
		b.act()
	}
	return n, err
}

// cut answers, or not, and goes away; what the client still sends is read for a while, so that it sees the answer.
func cut(w http.ResponseWriter, answer string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_, _ = conn.Write([]byte(answer))
		if answer != "" {
			_ = conn.(*tls.Conn).CloseWrite()
			_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
			_, _ = io.Copy(ioutil.Discard, conn)
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// drip answers byte by byte.
func drip(w http.ResponseWriter) {
	if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
		for _, each := range []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") {
			if _, err = conn.Write([]byte{each}); err != nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

func act(wanted Faults, l *lease, w http.ResponseWriter, r *http.Request) {
	switch wanted.Action {
	case "cut":
		cut(w, "")
	case "half-answer":
		cut(w, "HTTP/1.1 200 O")
	case "drip":
		drip(w)
	case "status":
		cut(w, fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Length: 0\r\n\r\n", wanted.Status, http.StatusText(wanted.Status)))
	case "stall":
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case "lease-error":
		l.fail("no space left on the datastore")
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case "expire":
		expire()
	}
}

func upload(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		download(w, r)
		return
	}
	mutex.Lock()
	wanted, l, place := faults, leases[filepath.Base(filepath.Dir(r.URL.Path))], len(seen.Uploads)
	name := os.DevNull
	if *store != "" {
		name = filepath.Join(*store, fmt.Sprintf("upload%d", number))
	}
	number++
	keep(l, name, filepath.Base(r.URL.Path))
	file, err := os.Create(name)
	if err != nil {
		log.Fatal(err)
	}
	seen.Uploads = append(seen.Uploads, Upload{
		Method: r.Method, Path: r.URL.Path, Type: r.Header.Get("Content-Type"), Overwrite: r.Header.Get("Overwrite"),
		Length: r.ContentLength, File: file.Name(),
	})
	mutex.Unlock()
	kept := &body{ReadCloser: r.Body, file: file, hash: sha256.New(), trigger: r.ContentLength * wanted.At / 100}
	if wanted.Action != "" {
		kept.act = func() { act(wanted, l, w, r) }
	}
	defer func() {
		_ = file.Close()
		mutex.Lock()
		if place < len(seen.Uploads) {
			seen.Uploads[place].Size = kept.size
			seen.Uploads[place].Sha256 = hex.EncodeToString(kept.hash.Sum(nil))
		}
		mutex.Unlock()
	}()
	r.Body = kept
	simulator.ServeNFC(w, r)
}

func main() {
	flag.Parse()
	model := simulator.ESX()
	if *vcenter {
		model = simulator.VPX()
	}
	model.Autostart = false
	if *api != "" {
		model.ServiceContent.About.ApiVersion = *api
	}
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	for _, each := range simulator.Map.All("ResourcePool") {
		simulator.Map.Put(&pool{*each.(*simulator.ResourcePool)})
	}
	content = model.ServiceContent
	simulator.Map.Put(&manager{*simulator.Map.Get(*content.OvfManager).(*simulator.OvfManager)})
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if *certs != "" {
		pair, err := tls.LoadX509KeyPair(*certs, *certs)
		if err != nil {
			log.Fatal(err)
		}
		tlsConfig.Certificates = []tls.Certificate{pair}
	}
	service := model.Service
	service.TLS = tlsConfig
	service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(*user, os.Getenv("VCSIM_PASSWORD"))}
	service.HandleFunc("127.0.0.1/nfc/", upload)
	service.HandleFunc("localhost/nfc/", upload)
	service.HandleFunc("127.0.0.1/sdk", sdk(service))
	service.HandleFunc("/test/faults", func(w http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		defer mutex.Unlock()
		faults, seen = Faults{}, Seen{}
		sweep()
		if err := json.NewDecoder(r.Body).Decode(&faults); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	service.HandleFunc("/test/seen", func(w http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		defer mutex.Unlock()
		_ = json.NewEncoder(w).Encode(seen)
	})
	server := service.NewServer()
	fmt.Println(server.URL.Host)
	<-context.Background().Done()
}
