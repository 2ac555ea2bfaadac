"""Calls the worker library as the Functions host does: ``python worker_host.py APP PROTOS < requests > responses``.

APP is the app's folder, PROTOS that of the generated messages. Each line of standard input is an HTTP request to a
function, as JSON with a body in base64. The first line of standard output lists the functions; each other line is a
response.

Every message is serialized and parsed, as between the processes of the host and the worker.
"""

import asyncio
import base64
import json
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import azure_functions_runtime as worker


async def main(app: str, rpc: ModuleType) -> None:
    """Index the app, then invoke a function for each line."""
    worker.start_threadpool_executor()

    async def call(handler: Any, **content: Any) -> Any:
        sent = rpc.StreamingMessage.FromString(rpc.StreamingMessage(**content).SerializeToString())
        properties = {"host": "127.0.0.1", "protos": rpc}
        response = await handler(SimpleNamespace(request=sent, properties=properties))
        response = type(response).FromString(response.SerializeToString())
        if response.result.status != rpc.StatusResult.Success:
            raise RuntimeError(f"{response.result.exception.message}\n{response.result.exception.stack_trace}")
        return response

    init = rpc.WorkerInitRequest(host_version="4.0", function_app_directory=app, worker_directory=app)
    await call(worker.worker_init_request, worker_init_request=init)
    metadata = await call(worker.functions_metadata_request, functions_metadata_request=rpc.FunctionsMetadataRequest())
    functions = {function.name: function for function in metadata.function_metadata_results}
    for function in functions.values():
        load = rpc.FunctionLoadRequest(function_id=function.function_id, metadata=function)
        await call(worker.function_load_request, function_load_request=load)
    write({name: [json.loads(binding) for binding in function.raw_bindings] for name, function in functions.items()})

    for line in sys.stdin:
        request = json.loads(line)
        response = await call(
            worker.invocation_request,
            invocation_request=rpc.InvocationRequest(
                invocation_id=request["id"],
                function_id=functions[request["function"]].function_id,
                input_data=[rpc.ParameterBinding(name=request["binding"], data=http(rpc, request))],
                trace_context=rpc.RpcTraceContext(trace_parent=request.get("traceparent", "")),
            ),
        )
        returned = response.return_value.http
        write(
            {
                "id": response.invocation_id,
                "status": returned.status_code,
                "headers": {name.lower(): value for name, value in returned.headers.items()},
                "body": returned.body.bytes.decode(),
            }
        )


def http(rpc: ModuleType, request: dict[str, Any]) -> Any:
    """The request in the form in which the host sends it."""
    message = rpc.RpcHttp(
        method=request.get("method", "POST"),
        url="http://localhost:7071/",
        headers=request.get("headers", {}),
        params=request.get("params", {}),
        query=request.get("query", {}),
        body=rpc.TypedData(bytes=base64.b64decode(request.get("body", ""))),
    )
    return rpc.TypedData(http=message)


def write(value: Any) -> None:
    """Write a line of output."""
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    # As in the worker, the app is appended.
    sys.path.append(sys.argv[1])
    sys.path.append(sys.argv[2])
    asyncio.run(main(sys.argv[1], __import__("function_rpc_pb2")))
