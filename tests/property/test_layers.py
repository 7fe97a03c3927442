"""Disks of differences at random; a model of our own and qemu-img are the oracles."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.build.disks import guest_bytes, qemu_img
from tests.build.layers import Layer, flatten

KINDS = st.sampled_from(["none", "none", "zeroed", "zeros", "data"])
DELTAS = st.builds(
    Layer,
    grains=st.lists(KINDS, min_size=1, max_size=20).map(tuple),
    grain_sectors=st.sampled_from([8, 16, 128, 128, 512]),
    tail_sectors=st.integers(0, 600),
    compressed=st.booleans(),
    seed=st.integers(0, 1 << 32),
)
BASES = st.builds(
    Layer,
    grains=st.lists(KINDS, min_size=1, max_size=20).map(tuple),
    grain_sectors=st.sampled_from([8, 128, 512]),
    tail_sectors=st.integers(0, 600),
    seed=st.integers(0, 1 << 32),
    whole=st.sampled_from(
        [
            ("raw",), ("vmdk",), ("vmdk", "subformat=streamOptimized"), ("qcow2",), ("qcow2", "-c"),
            ("qcow2", "cluster_size=512"), ("vpc", "force_size=on"), ("vdi",), ("vhdx",),
        ]
    ),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(deltas=st.lists(DELTAS, min_size=1, max_size=3), base=BASES, in_order=st.booleans())
def test_any_chain_reads_as_one_disk(
    tmp_path_factory: pytest.TempPathFactory, deltas: list[Layer], base: Layer, *, in_order: bool
) -> None:
    folder = tmp_path_factory.mktemp("chain")
    paths = [layer.write(folder / f"{n}") for n, layer in enumerate([*deltas, base])]
    expected = base.over(b"")
    for layer in reversed(deltas):
        expected = layer.over(expected)
    digest = hashlib.sha256()
    flatten(paths, folder / "out.qcow2", "qcow2", in_order=in_order, hasher=digest)
    flatten(paths, folder / "out.raw", "raw", hasher=None)
    assert (folder / "out.raw").read_bytes() == expected
    assert guest_bytes(folder / "out.qcow2") == expected
    assert digest.digest() == hashlib.sha256(b"".join(path.read_bytes() for path in paths)).digest()
    qemu_img("check", "-f", "qcow2", folder / "out.qcow2")
    qemu_img("compare", "-f", "qcow2", "-F", "raw", folder / "out.qcow2", folder / "out.raw")


@settings(max_examples=15, deadline=None)
@given(deltas=st.lists(DELTAS, min_size=1, max_size=3), base=DELTAS)
def test_chains_of_vmdks_read_as_qemu_reads_them(
    tmp_path_factory: pytest.TempPathFactory, deltas: list[Layer], base: Layer
) -> None:
    folder = tmp_path_factory.mktemp("chain")
    layers = [*deltas, base]
    paths = [
        layer.write(folder / f"{n}.vmdk", parent=f"{n + 1}.vmdk" if layer is not base else "")
        for n, layer in enumerate(layers)
    ]
    flatten(paths, folder / "out", "qcow2", hasher=None)
    qemu_img("compare", "-f", "vmdk", "-F", "qcow2", paths[0], folder / "out")
