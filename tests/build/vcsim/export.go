package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io/ioutil"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Export is what a test asks for of exports.
type Export struct {
	Cuts      int    // so many downloads are broken off, at Faults.At percent; then they succeed
	Ranges    bool   // a download can be resumed
	Tag       string // ETag of a download; # is another number each time
	Framing   string // length, close; chunked when it is empty
	Sizes     bool   // the lease names sizes
	Digests   string // good, bad; the method is not there when it is empty
	Error     string // of CreateDescriptor
	Nothing   bool   // it writes no descriptor
	GrowBytes int    // by which the descriptor is longer once the sizes of files are known
	Capacity  int64  // in KiB, of every disk in the descriptor, in place of its own
	Forget    string // ending of a file that the descriptor does not mention
	Invent    bool   // it mentions one that the lease has not
}

// Download is one request for a file of a lease.
type Download struct {
	Path, Range, Accept string
	Size                int64
}

// stored is where the bytes of each file of each machine are, by "machine/file".
var stored = map[string]string{}

// exporter stands for a machine, which cannot be wrapped: the simulator asks for its own kind in too many places.
type exporter struct {
	mo.OvfManager
	vm types.ManagedObjectReference
}

var exportVM = regexp.MustCompile(`(<ExportVm [^>]*><_this [^>]*)type="VirtualMachine"([^>]*)>([^<]+)<`)

// sdk lets an exporter export in place of its machine.
func sdk(service *simulator.Service) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := ioutil.ReadAll(r.Body)
		if found := exportVM.FindSubmatch(body); found != nil {
			vm := string(found[3])
			made := &exporter{vm: types.ManagedObjectReference{Type: "VirtualMachine", Value: vm}}
			made.Self = types.ManagedObjectReference{Type: "OvfManager", Value: "export-" + vm}
			simulator.Map.Put(made)
			body = exportVM.ReplaceAll(body, []byte(`${1}type="OvfManager"${2}>export-${3}<`))
		}
		r.Body = ioutil.NopCloser(bytes.NewReader(body))
		service.ServeSDK(w, r)
	}
}

// exportLease is a lease that gives files away.
type exportLease struct {
	lease
	sums map[string]types.HttpNfcLeaseManifestEntry
}

func (e *exporter) ExportVm(ctx *simulator.Context, req *types.ExportVm) soap.HasFault {
	vm := ctx.Map.Get(e.vm).(*simulator.VirtualMachine)
	body := &methods.ExportVmBody{}
	if state := vm.Runtime.PowerState; state != types.VirtualMachinePowerStatePoweredOff {
		body.Fault_ = simulator.Fault("", &types.InvalidPowerState{ExistingState: state})
		return body
	}
	wanted := now()
	made := &exportLease{
		lease: lease{HttpNfcLease: *simulator.NewHttpNfcLease(ctx, e.vm)}, sums: map[string]types.HttpNfcLeaseManifestEntry{},
	}
	made.Info.Lease = made.Self
	for _, file := range filesOf(vm) {
		made.Info.TotalDiskCapacityInKB += capacityInKB(stored[e.vm.Value+"/"+file.name])
	}
	for _, file := range filesOf(vm) {
		host := "*"
		if wanted.DeviceHost != "" {
			host = wanted.DeviceHost
		}
		device := types.HttpNfcLeaseDeviceUrl{
			Key: file.key, Url: "https://" + host + "/nfc/" + path.Join(made.Self.Value, file.name),
			SslThumbprint: wanted.Thumbprint, Disk: types.NewBool(file.isDisk), TargetId: file.name,
		}
		if info, err := os.Stat(stored[e.vm.Value+"/"+file.name]); err == nil && wanted.Export.Sizes {
			device.FileSize = info.Size()
		}
		made.Info.DeviceUrl = append(made.Info.DeviceUrl, device)
	}
	made.initialize(wanted.Initializing)
	ctx.Session.Put(made)
	mutex.Lock()
	exports[made.Self.Value] = made
	mutex.Unlock()
	body.Res = &types.ExportVmResponse{Returnval: made.Self}
	return body
}

var exports = map[string]*exportLease{}

func (l *exportLease) HttpNfcLeaseGetManifest(req *types.HttpNfcLeaseGetManifest) soap.HasFault {
	body := &methods.HttpNfcLeaseGetManifestBody{}
	if now().Export.Digests == "" {
		body.Fault_ = simulator.Fault("", &types.MethodNotFound{Receiver: l.Self, Method: "HttpNfcLeaseGetManifest"})
		return body
	}
	body.Res = &types.HttpNfcLeaseGetManifestResponse{}
	mutex.Lock()
	defer mutex.Unlock()
	for _, each := range l.sums {
		body.Res.Returnval = append(body.Res.Returnval, each)
	}
	return body
}

type file struct {
	key, name string
	isDisk    bool
	device    types.BaseVirtualDevice
}

// filesOf lists what a machine's devices lie on, under the keys that an export lease uses.
func filesOf(vm *simulator.VirtualMachine) []file {
	var found []file
	devices := object.VirtualDeviceList(vm.Config.Hardware.Device)
	count := map[string]int{}
	for _, device := range devices {
		backing, ok := device.GetVirtualDevice().Backing.(types.BaseVirtualDeviceFileBackingInfo)
		if !ok {
			continue
		}
		var at object.DatastorePath
		at.FromString(backing.GetVirtualDeviceFileBackingInfo().FileName)
		_, isDisk := device.(*types.VirtualDisk)
		kind := devices.Type(device)
		key := fmt.Sprintf("/%s/%s:%d", vm.Self.Value, kind, count[kind])
		count[kind]++
		found = append(found, file{key: key, name: path.Base(at.Path), isDisk: isDisk, device: device})
	}
	return found
}

const piece = 64 << 10

// download sends the stored bytes of a file of a lease.
func download(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	mutex.Lock()
	l, wanted := exports[parts[len(parts)-2]], faults
	seen.Downloads = append(seen.Downloads, Download{
		Path: r.URL.Path, Range: r.Header.Get("Range"), Accept: r.Header.Get("Accept"),
	})
	number := len(seen.Downloads)
	mutex.Unlock()
	if l == nil {
		http.NotFound(w, r)
		return
	}
	name := parts[len(parts)-1]
	file, err := os.Open(stored[l.Info.Entity.Value+"/"+name])
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer file.Close()
	info, _ := file.Stat()
	tag := ""
	if wanted.Export.Tag != "" {
		tag = fmt.Sprintf(`"%s"`, strings.Replace(wanted.Export.Tag, "#", fmt.Sprint(number), 1))
		w.Header().Set("ETag", tag)
	}
	start, end := resumeAt(wanted.Export, tag, r, info.Size()), info.Size()
	if start < 0 {
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	frame(w, wanted.Export, start, end)
	isBroken := wanted.Action != "" && (wanted.Export.Cuts == 0 || number <= wanted.Export.Cuts)
	if isBroken {
		end = end * wanted.At / 100
	}
	sum := sha1.New()
	for at := start; at < end; at += piece {
		time.Sleep(time.Duration(wanted.PauseMs) * time.Millisecond)
		size := end - at
		if size > piece {
			size = piece
		}
		data := make([]byte, size)
		_, _ = file.ReadAt(data, at)
		n, _ := w.Write(data)
		if wanted.Export.Digests != "" {
			_, _ = sum.Write(data)
		}
		mutex.Lock()
		if number <= len(seen.Downloads) {
			seen.Downloads[number-1].Size += int64(n)
		}
		mutex.Unlock()
	}
	w.(http.Flusher).Flush()
	if isBroken {
		breakOff(wanted, l, r)
	}
	entry := types.HttpNfcLeaseManifestEntry{
		Key: key(l, name), Sha1: hex.EncodeToString(sum.Sum(nil)), Size: info.Size(),
	}
	if entry.Disk = path.Ext(name) == ".vmdk"; entry.Disk {
		entry.Capacity, entry.PopulatedSize = capacityInKB(file.Name())<<10, 64<<10
	}
	if wanted.Export.Digests == "bad" {
		entry.Sha1 = strings.Repeat("0", 40)
	}
	mutex.Lock()
	l.sums[name] = entry
	mutex.Unlock()
}

func key(l *exportLease, name string) string {
	for _, each := range l.Info.DeviceUrl {
		if each.TargetId == name {
			return each.Key
		}
	}
	return ""
}

// resumeAt is where a download begins; -1 where it cannot.
func resumeAt(wanted Export, tag string, r *http.Request, size int64) int64 {
	text := strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-")
	condition := r.Header.Get("If-Range")
	if !wanted.Ranges || text == "" || condition != "" && condition != tag {
		return 0
	}
	start, _ := strconv.ParseInt(text, 10, 64)
	if start >= size {
		return -1
	}
	return start
}

// frame writes the header of an answer, which says or does not say how long it is.
func frame(w http.ResponseWriter, wanted Export, start int64, size int64) {
	switch wanted.Framing {
	case "length":
		w.Header().Set("Content-Length", fmt.Sprint(size-start))
	case "close":
		w.Header().Set("Connection", "close")
		w.Header().Set("Transfer-Encoding", "identity")
	}
	if start > 0 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, size-1, size))
		w.WriteHeader(http.StatusPartialContent)
	}
}

func breakOff(wanted Faults, l *exportLease, r *http.Request) {
	switch wanted.Action {
	case "cut":
		panic(http.ErrAbortHandler)
	case "stall":
		<-r.Context().Done()
	case "exit":
		os.Exit(1)
	case "lease-error":
		l.fail("no space left on the datastore")
		<-r.Context().Done()
	case "expire":
		expire()
	}
}

// keep remembers whose file was uploaded, and where its bytes are.
func keep(l *lease, bytes string, name string) {
	if l == nil {
		return
	}
	for _, device := range l.Info.DeviceUrl {
		if place, _ := url.PathUnescape(device.Url); strings.HasSuffix(place, "/"+l.Self.Value+"/"+name) {
			stored[strings.Split(device.Key, "/")[1]+"/"+name] = bytes
		}
	}
}

// sweep forgets the bytes of machines that are gone.
func sweep() {
	for place, name := range stored {
		vm := types.ManagedObjectReference{Type: "VirtualMachine", Value: path.Dir(place)}
		if simulator.Map.Get(vm) == nil {
			if name != os.DevNull {
				_ = os.Remove(name)
			}
			delete(stored, place)
		}
	}
}

// The descriptor of a machine, as far as the tests ask.
var descriptor = template.Must(template.New("ovf").Funcs(template.FuncMap{"text": text}).Parse(
	`<?xml version="1.0" encoding="UTF-8"?>
<!--Generated by vcsim-->
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vmw="http://www.vmware.com/schema/ovf"
 xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References>{{range $n, $file := .Files}}
    <File ovf:href="{{text $file.Path}}" ovf:id="file{{$n}}" ovf:size="{{$file.Size}}"/>{{end}}
  </References>
  <DiskSection>
    <Info>Virtual disk information</Info>{{range .Disks}}
    <Disk ovf:capacity="{{.Capacity}}" ovf:capacityAllocationUnits="byte * 2^10" ovf:diskId="vmdisk{{.File}}"
     ovf:fileRef="file{{.File}}"{{if .Populated}} ovf:populatedSize="{{.Populated}}"{{end}}
     ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>{{end}}
  </DiskSection>
  <NetworkSection>
    <Info>The list of logical networks</Info>
    <Network ovf:name="VM Network"><Description>The VM Network network</Description></Network>
  </NetworkSection>
  <VirtualSystem ovf:id="{{text .Name}}">
    <Info>A virtual machine</Info>
    <Name>{{text .Name}}</Name>
    <OperatingSystemSection ovf:id="1" vmw:osType="{{text .Guest}}"><Info>The guest</Info></OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Virtual hardware requirements</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{{text .Name}}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>{{text .Family}}</vssd:VirtualSystemType>
      </System>
      <Item>
        <rasd:AllocationUnits>hertz * 10^6</rasd:AllocationUnits><rasd:ElementName>CPUs</rasd:ElementName>
        <rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>
        <rasd:VirtualQuantity>{{.CPUs}}</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:ElementName>Memory</rasd:ElementName>
        <rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType>
        <rasd:VirtualQuantity>{{.Memory}}</rasd:VirtualQuantity>
      </Item>{{range .Controllers}}
      <Item>
        <rasd:Address>0</rasd:Address><rasd:ElementName>Controller {{.Key}}</rasd:ElementName>
        <rasd:InstanceID>{{.Key}}</rasd:InstanceID>{{if .SubType}}
        <rasd:ResourceSubType>{{.SubType}}</rasd:ResourceSubType>{{end}}
        <rasd:ResourceType>{{.Type}}</rasd:ResourceType>
      </Item>{{end}}{{range .Disks}}
      <Item>
        <rasd:AddressOnParent>{{.Unit}}</rasd:AddressOnParent><rasd:ElementName>Disk {{.File}}</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/vmdisk{{.File}}</rasd:HostResource>
        <rasd:InstanceID>{{.Key}}</rasd:InstanceID><rasd:Parent>{{.Parent}}</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType>
      </Item>{{end}}{{range .CDs}}
      <Item>
        <rasd:AddressOnParent>{{.Unit}}</rasd:AddressOnParent><rasd:ElementName>CD {{.File}}</rasd:ElementName>
        <rasd:HostResource>ovf:/file/file{{.File}}</rasd:HostResource>
        <rasd:InstanceID>{{.Key}}</rasd:InstanceID><rasd:Parent>{{.Parent}}</rasd:Parent>
        <rasd:ResourceType>15</rasd:ResourceType>
      </Item>{{end}}{{range .NICs}}
      <Item>
        <rasd:AutomaticAllocation>true</rasd:AutomaticAllocation><rasd:Connection>VM Network</rasd:Connection>
        <rasd:ElementName>Network</rasd:ElementName><rasd:InstanceID>{{.Key}}</rasd:InstanceID>
        <rasd:ResourceSubType>{{.SubType}}</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType>
      </Item>{{end}}
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
`))

func text(value string) string {
	var buffer bytes.Buffer
	_ = xml.EscapeText(&buffer, []byte(value))
	return buffer.String()
}

type part struct {
	Key, Parent, Unit, Type int32
	Capacity, Populated     int64
	File                    int
	SubType                 string
}

type machine struct {
	Name, Guest, Family           string
	CPUs                          int32
	Memory                        int32
	Files                         []types.OvfFile
	Disks, CDs, Controllers, NICs []part
}

func (m *manager) CreateDescriptor(ctx *simulator.Context, req *types.CreateDescriptor) soap.HasFault {
	wanted := now()
	vm := ctx.Map.Get(req.Obj).(*simulator.VirtualMachine)
	hardware := vm.Config.Hardware
	told := machine{
		Name: req.Cdp.Name, Guest: vm.Config.GuestId, Family: vm.Config.Version, CPUs: hardware.NumCPU,
		Memory: hardware.MemoryMB,
	}
	if told.Name == "" {
		told.Name = vm.Name
	}
	places := map[string]int{}
	for _, each := range req.Cdp.OvfFiles {
		if wanted.Export.Forget != "" && strings.HasSuffix(each.Path, wanted.Export.Forget) {
			continue
		}
		places[each.DeviceId] = len(told.Files)
		told.Files = append(told.Files, each)
	}
	if wanted.Export.Invent {
		told.Files = append(told.Files, types.OvfFile{Path: "other.vmdk", Size: 1})
	}
	describeDevices(&told, vm, places)
	var buffer bytes.Buffer
	_ = descriptor.Execute(&buffer, told)
	mutex.Lock()
	if seen.Descriptors++; seen.Descriptors > 1 && wanted.Export.GrowBytes > 0 {
		fmt.Fprintf(&buffer, "<!--%s-->", strings.Repeat("x", wanted.Export.GrowBytes))
	}
	mutex.Unlock()
	result := types.OvfCreateDescriptorResult{OvfDescriptor: buffer.String()}
	remark := func(message string) []types.LocalizedMethodFault {
		if message == "" {
			return nil
		}
		return []types.LocalizedMethodFault{{Fault: &types.OvfUnsupportedDeviceExport{}, LocalizedMessage: message}}
	}
	result.Warning, result.Error = remark(wanted.Warning), remark(wanted.Export.Error)
	if wanted.Export.Nothing {
		result.OvfDescriptor = ""
	}
	return &methods.CreateDescriptorBody{Res: &types.CreateDescriptorResponse{Returnval: result}}
}

// capacityInKB is what a VMDK says; the simulator takes bytes for it where a package names no unit.
func capacityInKB(name string) int64 {
	header := make([]byte, 20)
	if file, err := os.Open(name); err == nil {
		_, _ = file.Read(header)
		_ = file.Close()
	}
	return int64(binary.LittleEndian.Uint64(header[12:])) / 2
}

func describeDevices(told *machine, vm *simulator.VirtualMachine, places map[string]int) {
	used := map[int32]bool{}
	for _, each := range filesOf(vm) {
		place, isThere := places[each.key]
		device := each.device.GetVirtualDevice()
		if !isThere || device.UnitNumber == nil {
			continue
		}
		used[device.ControllerKey] = true
		made := part{Key: device.Key, Parent: device.ControllerKey, Unit: *device.UnitNumber, File: place}
		if each.isDisk {
			made.Capacity = capacityInKB(stored[vm.Self.Value+"/"+each.name])
			if wanted := now().Export.Capacity; wanted > 0 {
				made.Capacity = wanted
			}
			made.Populated = told.Files[place].PopulatedSize
			told.Disks = append(told.Disks, made)
		} else if _, isCD := each.device.(*types.VirtualCdrom); isCD {
			told.CDs = append(told.CDs, made)
		}
	}
	for _, each := range vm.Config.Hardware.Device {
		key := each.GetVirtualDevice().Key
		if _, isCard := each.(types.BaseVirtualEthernetCard); !isCard && !used[key] {
			continue
		}
		switch each.(type) {
		case *types.VirtualIDEController:
			told.Controllers = append(told.Controllers, part{Key: key, Type: 5})
		case *types.VirtualLsiLogicController:
			told.Controllers = append(told.Controllers, part{Key: key, Type: 6, SubType: "lsilogic"})
		case *types.ParaVirtualSCSIController:
			told.Controllers = append(told.Controllers, part{Key: key, Type: 6, SubType: "VirtualSCSI"})
		case types.BaseVirtualEthernetCard:
			told.NICs = append(told.NICs, part{Key: key, SubType: "E1000"})
		}
	}
}
