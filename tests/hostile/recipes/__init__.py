"""All hostile packages."""

from typing import Final

from tests.hostile.recipe import Recipe
from tests.hostile.recipes import archives, descriptors, disks, identities, manifests, qcow2s, vmdks

RECIPES: Final[tuple[Recipe, ...]] = (
    *archives.RECIPES,
    *descriptors.RECIPES,
    *manifests.RECIPES,
    *vmdks.RECIPES,
    *qcow2s.RECIPES,
    *disks.RECIPES,
    *identities.RECIPES,
)
