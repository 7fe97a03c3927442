"""All hostile packages."""

from typing import Final

from tests.hostile.recipe import Recipe
from tests.hostile.recipes import archives, descriptors, disks, identities, manifests

RECIPES: Final[tuple[Recipe, ...]] = (
    *archives.RECIPES,
    *descriptors.RECIPES,
    *manifests.RECIPES,
    *disks.RECIPES,
    *identities.RECIPES,
)
