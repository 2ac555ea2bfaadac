"""An app that cannot be imported, by way of a module of its own."""

import helper  # type: ignore[import-not-found] # it stands beside this file, which is not a package

print(helper)
