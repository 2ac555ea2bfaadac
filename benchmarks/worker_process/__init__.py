"""The app in a worker process, as in Azure, beside the app in the local host's own process."""
