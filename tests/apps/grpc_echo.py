# tests/apps/grpc_echo.py — a gRPC service without generated code: messages are bytes.
#
#   grpc_echo.py serve NAME PORT    prints "ready", ends with its input
#   grpc_echo.py ask PORT USER      calls every method as that user, prints what comes
import concurrent.futures
import sys

import grpc


def once(request, context):
    context.set_trailing_metadata((("x-server", name),))
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, name + " fails")
    return name.encode() + b" got " + request


def many(request, context):
    for number in range(int(request)):
        yield b"%s %d" % (name.encode(), number)


def both(requests, context):
    for request in requests:
        yield name.encode() + b" heard " + request


def serve(port):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Echo", {
        "Once": grpc.unary_unary_rpc_method_handler(once),
        "Many": grpc.unary_stream_rpc_method_handler(many),
        "Both": grpc.stream_stream_rpc_method_handler(both)}),))
    server.add_insecure_port("0.0.0.0:" + port)
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    server.stop(0)


def ask(port, user):
    metadata = (("x-user", user),)
    with grpc.insecure_channel("127.0.0.1:" + port) as channel:
        call = channel.unary_unary("/Echo/Once").with_call(b"hello", metadata=metadata, timeout=20)
        print(call[0].decode(), dict(call[1].trailing_metadata())["x-server"])
        try:
            channel.unary_unary("/Echo/Once")(b"fail", metadata=metadata, timeout=20)
        except grpc.RpcError as error:
            print(error.code().name, error.details())
        for answer in channel.unary_stream("/Echo/Many")(b"3", metadata=metadata, timeout=20):
            print(answer.decode())
        # Each answer is waited for before the next request is sent.
        waiting = []
        answers = channel.stream_stream("/Echo/Both")(numbered(waiting), metadata=metadata, timeout=20)
        for answer in answers:
            print(answer.decode())
            waiting.pop().set_result(None)


def numbered(waiting):
    for number in range(3):
        heard = concurrent.futures.Future()
        waiting.append(heard)
        yield b"%d" % number
        heard.result(20)


if sys.argv[1] == "serve":
    name = sys.argv[2]
    serve(sys.argv[3])
else:
    ask(sys.argv[2], sys.argv[3])
