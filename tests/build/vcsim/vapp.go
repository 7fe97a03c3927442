package main

import (
	"encoding/xml"
	"fmt"
	"path"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// What the simulator does not know of vApps: how to import them. As a vCenter has it, a vApp is in a resource pool and,
// unless it is in another one, in a folder, where nothing else has its name. Its machines are in no folder; their names
// are unique in the vApp alone. An import that fails leaves nothing.

// entity is a system or collection of a descriptor.
type entity struct {
	id, name string
	isGroup  bool
	start    int64 // of its text
	end      int64
	inside   []*entity
}

// topOf reads a descriptor: its only system or collection.
func topOf(text string) *entity {
	envelope := &entity{}
	open := []*entity{envelope}
	reader := xml.NewDecoder(strings.NewReader(text))
	for depth, isName := 0, false; ; {
		start := reader.InputOffset()
		token, err := reader.Token()
		if err != nil {
			break
		}
		last := open[len(open)-1]
		switch token := token.(type) {
		case xml.StartElement:
			isName = token.Name.Local == "Name" && depth == len(open)
			if kind := token.Name.Local; kind == "VirtualSystem" || kind == "VirtualSystemCollection" {
				made := &entity{isGroup: kind != "VirtualSystem", start: start}
				for _, attribute := range token.Attr {
					if attribute.Name.Local == "id" {
						made.id = attribute.Value
					}
				}
				last.inside = append(last.inside, made)
				open = append(open, made)
			}
			depth++
		case xml.CharData:
			if isName {
				last.name += string(token)
			}
		case xml.EndElement:
			depth--
			isName = false
			if kind := token.Name.Local; kind == "VirtualSystem" || kind == "VirtualSystemCollection" {
				last.end = reader.InputOffset()
				open = open[:len(open)-1]
			}
		}
	}
	if len(envelope.inside) == 0 {
		return envelope
	}
	return envelope.inside[0]
}

// named is what it is called in the inventory.
func (e *entity) named() string {
	if name := strings.TrimSpace(e.name); name != "" {
		return name
	}
	return e.id
}

// importSpecOf is the specification of a vApp, which the request names.
func (m *manager) importSpecOf(ctx *simulator.Context, req *types.CreateImportSpec, top *entity) soap.HasFault {
	result := types.OvfCreateImportSpecResult{}
	head, tail := req.OvfDescriptor[:top.start], req.OvfDescriptor[top.end:]
	var fault *soap.Fault
	var specOf func(each *entity, name, place string) types.BaseImportSpec
	specOf = func(each *entity, name, place string) types.BaseImportSpec {
		if each.isGroup {
			spec := &types.VirtualAppImportSpec{
				Name: name, VAppConfigSpec: simulator.NewVAppConfigSpec(), ResourcePoolSpec: types.DefaultResourceConfigSpec(),
			}
			for _, inner := range each.inside {
				spec.Child = append(spec.Child, specOf(inner, inner.named(), path.Join(place, name)))
			}
			return spec
		}
		one := *req
		one.Cisp.EntityName = name
		one.OvfDescriptor = head + req.OvfDescriptor[each.start:each.end] + tail
		part := m.OvfManager.CreateImportSpec(ctx, &one).(*methods.CreateImportSpecBody)
		if part.Fault_ != nil {
			fault = part.Fault_
			return &types.VirtualMachineImportSpec{}
		}
		for _, item := range part.Res.Returnval.FileItem {
			item.DeviceId = place + item.DeviceId
			result.FileItem = append(result.FileItem, item)
		}
		result.Error = append(result.Error, part.Res.Returnval.Error...)
		return part.Res.Returnval.ImportSpec.(types.BaseImportSpec)
	}
	result.ImportSpec = specOf(top, req.Cisp.EntityName, "/")
	if fault != nil {
		return &methods.CreateImportSpecBody{Fault_: fault}
	}
	return &methods.CreateImportSpecBody{Res: &types.CreateImportSpecResponse{Returnval: result}}
}

type vapp struct {
	simulator.VirtualApp
	machines *simulator.Folder // that nobody sees: the simulator makes no machine without one
}

// importGroup makes a vApp: one lease for all of its machines.
func (p *pool) importGroup(
	ctx *simulator.Context, req *types.ImportVApp, spec *types.VirtualAppImportSpec,
) *methods.ImportVAppBody {
	folder := simulator.Map.Get(*req.Folder).(*simulator.Folder)
	if simulator.Map.FindByName(spec.Name, folder.ChildEntity) != nil {
		return &methods.ImportVAppBody{Fault_: simulator.Fault("", &types.DuplicateName{Name: spec.Name, Object: folder.Self})}
	}
	body := &methods.ImportVAppBody{}
	var whole *lease
	app := p.makeGroup(ctx, req, spec, body, &whole, "/")
	if body.Fault_ == nil && whole == nil {
		body.Fault_ = simulator.Fault("a vApp without machines", &types.NotSupported{})
	}
	if body.Fault_ != nil {
		if app != nil && now().Refuse == "" {
			app.destroy(ctx)
		}
		return body
	}
	if whole.Info != nil { // else it was refused
		whole.Info.Entity = app.Self
	} else if !now().LeaveGroup {
		app.destroy(ctx)
	}
	body.Res = &types.ImportVAppResponse{Returnval: whole.Self}
	return body
}

// makeGroup makes a vApp with all that is in it, whose lease is the first machine's; body tells what went wrong.
func (p *pool) makeGroup(
	ctx *simulator.Context, req *types.ImportVApp, spec *types.VirtualAppImportSpec, body *methods.ImportVAppBody,
	whole **lease, place string,
) *vapp {
	folder := simulator.Map.Get(*req.Folder).(*simulator.Folder)
	made := p.ResourcePool.CreateVApp(&types.CreateVApp{
		This: p.Self, Name: spec.Name, ResSpec: spec.ResourcePoolSpec, ConfigSpec: spec.VAppConfigSpec,
		VmFolder: req.Folder,
	}).(*methods.CreateVAppBody)
	if made.Fault_ != nil {
		body.Fault_ = made.Fault_
		return nil
	}
	app := &vapp{VirtualApp: *simulator.Map.Get(made.Res.Returnval).(*simulator.VirtualApp)}
	app.machines = hidden(ctx, folder, app.Self.Value)
	app.VAppConfig.InstanceUuid = spec.VAppConfigSpec.InstanceUuid
	simulator.Map.Put(app)
	if place == "/" {
		folder.ChildEntity = append(folder.ChildEntity, app.Self)
	}
	place = path.Join(place, spec.Name)
	for _, child := range spec.Child {
		if body.Fault_ != nil {
			break
		}
		if inner, isGroup := child.(*types.VirtualAppImportSpec); isGroup {
			// The simulator makes vApps in pools alone; this one is put where it belongs.
			if sub := p.makeGroup(ctx, req, inner, body, whole, place); sub != nil {
				simulator.RemoveReference(&p.ResourcePool.ResourcePool.ResourcePool, sub.Self)
				app.ResourcePool.ResourcePool = append(app.ResourcePool.ResourcePool, sub.Self)
				sub.Parent, sub.ParentFolder = &app.Self, nil
			}
			continue
		}
		app.importMachine(ctx, p, req, child.(*types.VirtualMachineImportSpec), body, whole, place)
	}
	return app
}

// importMachine makes a machine of the vApp in the pool.
func (a *vapp) importMachine(
	ctx *simulator.Context, p *pool, req *types.ImportVApp, spec *types.VirtualMachineImportSpec,
	body *methods.ImportVAppBody, whole **lease, place string,
) {
	if simulator.Map.FindByName(spec.ConfigSpec.Name, a.machines.ChildEntity) != nil {
		body.Fault_ = simulator.Fault("", &types.DuplicateName{Name: spec.ConfigSpec.Name, Object: a.Self})
		return
	}
	// A server makes a folder for its files that was not there.
	folder := fmt.Sprintf(" %s-%d/", a.Self.Value, len(a.Vm))
	spec.ConfigSpec.Files.VmPathName += folder + "machine.vmx"
	for _, change := range spec.ConfigSpec.DeviceChange {
		backing := change.GetVirtualDeviceConfigSpec().Device.GetVirtualDevice().Backing
		if file, isFile := backing.(types.BaseVirtualDeviceFileBackingInfo); isFile {
			info := file.GetVirtualDeviceFileBackingInfo()
			info.FileName = strings.Replace(info.FileName, " "+spec.ConfigSpec.Name+"/", folder, 1)
		}
	}
	one, part := p.importOne(ctx, &types.ImportVApp{This: req.This, Spec: spec, Folder: &a.machines.Self, Host: req.Host})
	if one.Fault_ != nil {
		body.Fault_ = one.Fault_
		return
	}
	if part.Info != nil {
		a.Vm = append(a.Vm, part.Info.Entity)
		for i := range part.Info.DeviceUrl {
			device := &part.Info.DeviceUrl[i]
			device.ImportKey = place + device.ImportKey
		}
	}
	if *whole == nil {
		*whole = part
	} else if part.Info != nil {
		(*whole).Info.DeviceUrl = append((*whole).Info.DeviceUrl, part.Info.DeviceUrl...)
	}
	body.Fault_ = perhapsFail()
}

// hidden is a folder that is in another one, which does not list it.
func hidden(ctx *simulator.Context, folder *simulator.Folder, name string) *simulator.Folder {
	made := folder.CreateFolder(ctx, &types.CreateFolder{This: folder.Self, Name: name}).(*methods.CreateFolderBody)
	simulator.RemoveReference(&folder.ChildEntity, made.Res.Returnval)
	return simulator.Map.Get(made.Res.Returnval).(*simulator.Folder)
}

// each calls `act` for the machines of the vApp and of those in it, and tells of the first fault.
func (a *vapp) each(act func(vm *simulator.VirtualMachine) types.BaseMethodFault) types.BaseMethodFault {
	for _, ref := range append([]types.ManagedObjectReference{}, a.Vm...) {
		if fault := act(simulator.Map.Get(ref).(*simulator.VirtualMachine)); fault != nil {
			return fault
		}
	}
	for _, ref := range a.ResourcePool.ResourcePool {
		if fault := simulator.Map.Get(ref).(*vapp).each(act); fault != nil {
			return fault
		}
	}
	return nil
}

// done is the fault of a task that has run, or nil.
func done(task types.ManagedObjectReference) types.BaseMethodFault {
	if failure := simulator.Map.Get(task).(*simulator.Task).Info.Error; failure != nil {
		return failure.Fault
	}
	return nil
}

func (a *vapp) PowerOnVAppTask(ctx *simulator.Context, req *types.PowerOnVApp_Task) soap.HasFault {
	task := simulator.CreateTask(a, "powerOn", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		return nil, a.each(func(vm *simulator.VirtualMachine) types.BaseMethodFault {
			if vm.Name == now().NoStart {
				return &types.InvalidState{}
			}
			res := vm.PowerOnVMTask(ctx, &types.PowerOnVM_Task{This: vm.Self})
			return done(res.(*methods.PowerOnVM_TaskBody).Res.Returnval)
		})
	})
	return &methods.PowerOnVApp_TaskBody{Res: &types.PowerOnVApp_TaskResponse{Returnval: task.Run()}}
}

func (a *vapp) PowerOffVAppTask(ctx *simulator.Context, req *types.PowerOffVApp_Task) soap.HasFault {
	task := simulator.CreateTask(a, "powerOff", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		return nil, a.each(func(vm *simulator.VirtualMachine) types.BaseMethodFault {
			if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
				return nil
			}
			res := vm.PowerOffVMTask(ctx, &types.PowerOffVM_Task{This: vm.Self})
			return done(res.(*methods.PowerOffVM_TaskBody).Res.Returnval)
		})
	})
	return &methods.PowerOffVApp_TaskBody{Res: &types.PowerOffVApp_TaskResponse{Returnval: task.Run()}}
}

func (a *vapp) DestroyTask(ctx *simulator.Context, req *types.Destroy_Task) soap.HasFault {
	task := simulator.CreateTask(a, "destroy", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		return nil, a.destroy(ctx)
	})
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: task.Run()}}
}

// destroy removes the vApp with all that is in it.
func (a *vapp) destroy(ctx *simulator.Context) types.BaseMethodFault {
	fault := a.each(func(vm *simulator.VirtualMachine) types.BaseMethodFault {
		res := vm.DestroyTask(ctx, &types.Destroy_Task{This: vm.Self})
		return done(res.(*methods.Destroy_TaskBody).Res.Returnval)
	})
	if fault != nil {
		return fault
	}
	a.forget()
	return nil
}

// forget removes a vApp that is empty, and those in it.
func (a *vapp) forget() {
	for _, ref := range append([]types.ManagedObjectReference{}, a.ResourcePool.ResourcePool...) {
		simulator.Map.Get(ref).(*vapp).forget()
	}
	a.Vm = nil
	if a.ParentFolder != nil {
		folder := simulator.Map.Get(*a.ParentFolder).(*simulator.Folder)
		simulator.RemoveReference(&folder.ChildEntity, a.Self)
	}
	if holder, isPool := simulator.Map.Get(*a.Parent).(*pool); isPool {
		simulator.RemoveReference(&holder.ResourcePool.ResourcePool.ResourcePool, a.Self)
	}
	simulator.Map.Remove(a.machines.Self)
	simulator.Map.Remove(a.Self)
}
