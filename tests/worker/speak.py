"""Speaks to the worker library as the Functions host does: ``python speak.py APP PROTOS < requests > answers``.

APP is the app's folder, PROTOS that of the generated messages. Each line of standard input is an HTTP request to a
function, as JSON with base64; each line of standard output an answer. The first line out lists the functions.

Every message is serialized and read again on its way, as it would be between the host's process and the worker's.
"""

import asyncio
import base64
import json
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import azure_functions_runtime as worker


async def main(app: str, rpc: ModuleType) -> None:
    """Index the app, then invoke what the lines ask for."""
    worker.start_threadpool_executor()

    async def ask(handler: Any, **content: Any) -> Any:
        sent = rpc.StreamingMessage.FromString(rpc.StreamingMessage(**content).SerializeToString())
        properties = {"host": "127.0.0.1", "protos": rpc}
        answer = await handler(SimpleNamespace(request=sent, properties=properties))
        answer = type(answer).FromString(answer.SerializeToString())
        if answer.result.status != rpc.StatusResult.Success:
            raise RuntimeError(f"{answer.result.exception.message}\n{answer.result.exception.stack_trace}")
        return answer

    init = rpc.WorkerInitRequest(host_version="4.0", function_app_directory=app, worker_directory=app)
    await ask(worker.worker_init_request, worker_init_request=init)
    found = await ask(worker.functions_metadata_request, functions_metadata_request=rpc.FunctionsMetadataRequest())
    functions = {function.name: function for function in found.function_metadata_results}
    for function in functions.values():
        load = rpc.FunctionLoadRequest(function_id=function.function_id, metadata=function)
        await ask(worker.function_load_request, function_load_request=load)
    tell({name: [json.loads(binding) for binding in function.raw_bindings] for name, function in functions.items()})

    for line in sys.stdin:
        request = json.loads(line)
        answer = await ask(
            worker.invocation_request,
            invocation_request=rpc.InvocationRequest(
                invocation_id=request["id"],
                function_id=functions[request["function"]].function_id,
                input_data=[rpc.ParameterBinding(name=request["binding"], data=http(rpc, request))],
                trace_context=rpc.RpcTraceContext(trace_parent=request.get("traceparent", "")),
            ),
        )
        back = answer.return_value.http
        tell(
            {
                "id": answer.invocation_id,
                "status": back.status_code,
                "headers": {name.lower(): value for name, value in back.headers.items()},
                "body": back.body.bytes.decode(),
            }
        )


def http(rpc: ModuleType, request: dict[str, Any]) -> Any:
    """A request as the host sends it."""
    message = rpc.RpcHttp(
        method=request.get("method", "POST"),
        url="http://localhost:7071/",
        headers=request.get("headers", {}),
        params=request.get("params", {}),
        query=request.get("query", {}),
        body=rpc.TypedData(bytes=base64.b64decode(request.get("body", ""))),
    )
    return rpc.TypedData(http=message)


def tell(answer: Any) -> None:
    """One line out."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    # As the worker does it: the app comes last.
    sys.path.append(sys.argv[1])
    sys.path.append(sys.argv[2])
    asyncio.run(main(sys.argv[1], __import__("function_rpc_pb2")))
