"""All hostile packages."""

from tests.hostile.recipes import archives, disks

RECIPES = (*archives.RECIPES, *disks.RECIPES)
