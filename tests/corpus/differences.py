"""Where we read the corpus otherwise than its index, case by case."""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """One column of one descriptor."""

    local: str
    column: str
    ours: str
    theirs: str
    why: str


class Refusal(NamedTuple):
    """Well-formed descriptors that are refused: the end of their paths, how many, and why."""

    path_ends: tuple[str, ...]
    code: str
    number: int
    why: str


_TEMPLATES = "vmware+govmomi/ovf/fixtures/external/OVFToolTemplates/OVF/xmltestfiles/"
_NAMESPACE = f"{_TEMPLATES}Envelope/Neg/invalid_namespace.ovf"
_FOREIGN_TYPE = "its xsi:type is in a false namespace, so nothing says that the Content is a system"
_ELSEWHERE = "the NetworkSection stands inside the system, where it has no meaning (DSP0243 9.2); it is a finding"

DIFFERENCES = (
    Difference(
        "oVirt+ovirt-engine@hist/backend/manager/tools/engine-image-uploader/src/ovf/sample-ovf.xml",
        "files", "1", "2", "one File is listed twice, word for word; it is one file and a finding",
    ),
    Difference(_NAMESPACE, "systems", "0", "1", _FOREIGN_TYPE),
    Difference(_NAMESPACE, "cpus", "", "-", _FOREIGN_TYPE),
    Difference(_NAMESPACE, "mem_mib", "", "-", _FOREIGN_TYPE),
    Difference(f"{_TEMPLATES}NetworkSection/Neg/net_sec_elsewhr.ovf", "networks", "0", "1", _ELSEWHERE),
    Difference(f"{_TEMPLATES}NetworkSection_1_0/Neg/net_sec_elsewhr.ovf", "networks", "0", "1", _ELSEWHERE),
)  # fmt: skip

REFUSALS = (
    Refusal(
        ("-hw7.ovf", "-hw10.ovf", "-hw11.ovf", "-hw13.ovf", "-hw14.ovf", "-hw15.ovf", "-hw17.ovf", "-hw18.ovf",
         "-hw19.ovf", "-hw20.ovf", "-hw21.ovf", "-bios.ovf", "-uefi.ovf", "ova/template.ovf"),
        "E_OVF_VALUE", 25, "open-vmdk's templates, with placeholders where numbers will be",
    ),
    Refusal(
        ("@hist/v2v/test-v2v-o-rhv.ovf.expected", "@hist/v2v/test-v2v-o-vdsm-options.ovf.expected",
         "tests/test-o-ovirt.ovf.expected"),
        "E_OVF_VALUE", 3, "virt-v2v's test output with a placeholder for the size",
    ),
    Refusal(
        ("glennmatthews+cot/COT/tests/invalid.ovf", "@ea8529faa05c/COT/tests/invalid.ovf"),
        "E_OVF_REF", 2, "a disk refers to a file that is not listed",
    ),
    Refusal(("@859244cda5de/COT/tests/invalid.ovf",), "E_OVF_REF", 1, "an item refers to a disk that is not listed"),
    Refusal(("Neg/dup_diskid.ovf",), "E_OVF_REF", 2, "two disks have one id"),
    Refusal(("Neg/dup_filerefs.ovf",), "E_OVF_REF", 2, "two disks are in one file"),
    Refusal(("Neg/invalid_ref_dup_id.ovf",), "E_OVF_REF", 1, "two files have one id"),
    Refusal(("Neg/invalid_no_file_in_ref.ovf",), "E_OVF_REF", 1, "References is empty, but a disk refers to a file"),
    Refusal(("Neg/dup_instanceid.ovf",), "E_OVF_REF", 1, "a processor and a disk have one InstanceID"),
    Refusal(
        ("Neg/twomax_rangemarker.ovf", "Neg/twomin_rangemarker.ovf"), "E_OVF_REF", 3, "two markers of one bound",
    ),
    Refusal(("Neg/invalid_ref_id.ovf",), "E_OVF_VALUE", 2, "a File without id"),
    Refusal(("Neg/invalid_ref_no_href.ovf",), "E_OVF_VALUE", 2, "a File without href"),
    Refusal(("Neg/no_diskid.ovf",), "E_OVF_VALUE", 1, "a Disk without id"),
    Refusal(
        ("Neg/no_resourcetype.ovf", "Neg/invalid_multiple_vh.ovf"), "E_OVF_VALUE", 2, "an Item without ResourceType",
    ),
    Refusal(("VirtualHardware_1_0/Neg/noninteger_range.ovf",), "E_OVF_VALUE", 1, "a quantity in words"),
    Refusal(
        ("ovf_negative_test/New folder/haoUnOS2VMs/haoUnOS2VMs.ovf", "ImportOvf2014/invalid.ovf"),
        "E_OVF_VALUE", 2, "a VirtualSystem without id",
    ),
    Refusal(
        ("negative-size-disk/haoUnOS2VMs.ovf", "negative-out-of-bound-disk/haoUnOS2VMs.ovf",
         "out-of-bounds-disk/haoUnOS2VMs.ovf", "Pos/valid_vmdk_neg_size.ovf"),
        "E_OVF_VALUE", 4,
        "file sizes of less than 0 or more than 2^63-1; VMware lets one pass, but no file has such a size",
    ),
    Refusal(
        ("tests/ersatz_ovf_3.0.ovf", "Envelope_1_0/Neg/invalid_namespace.ovf"), "E_OVF_VERSION", 2,
        "namespaces of no OVF version",
    ),
    Refusal(("PvScsis_old/descriptor.ovf",), "E_OVF_VERSION", 1, "an HTML page in the place of a descriptor"),
)  # fmt: skip


def refusal_of(local: str) -> Refusal | None:
    """The entry that explains why the descriptor `local` is refused."""
    return next((refusal for refusal in REFUSALS if local.endswith(refusal.path_ends)), None)
