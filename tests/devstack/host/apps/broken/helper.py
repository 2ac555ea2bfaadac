"""A module that needs a package which is not installed."""

import a_package_that_is_not_installed  # type: ignore[import-not-found]

print(a_package_that_is_not_installed)
