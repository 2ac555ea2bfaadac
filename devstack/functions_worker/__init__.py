"""The process in which an app runs in Azure, as far as an app can notice: a stand-in for Microsoft's Python worker.

That worker is not published as a package, but its library is (azure-functions-runtime), which indexes and invokes the
app here too. This package does what the worker's own code does around it, by the public source
(``workers/proxy_worker`` of Azure/azure-functions-python-worker): the gRPC stream to the host, the thread that reads
it, the task factory, the log that goes over the stream, and the switch from the worker's packages to the app's.

The local host (:mod:`devstack.host.remote`) links this folder into that of the worker's packages, where it is the
package ``functions_worker``: so its imports are relative, and it imports nothing of this project.
"""
