// tests/apps/go/grpc_echo/main.go — a grpc-go service without generated code: messages are bytes.
//
//	grpc_echo serve NAME PORT    prints "ready", ends with its input
//	grpc_echo ask PORT USER      calls every method as that user, prints what comes
//
// The methods and what is printed are those of grpc_echo.py, so that each can ask the other.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// raw carries the messages as they are.
type raw struct{}

func (raw) Name() string                      { return "proto" }
func (raw) Marshal(value any) ([]byte, error) { return *value.(*[]byte), nil }
func (raw) Unmarshal(data []byte, to any) error {
	*to.(*[]byte) = append([]byte(nil), data...)
	return nil
}

func text(words string) *[]byte {
	data := []byte(words)
	return &data
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func once(name string) grpc.MethodHandler {
	return func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var request []byte
		if err := decode(&request); err != nil {
			return nil, err
		}
		if err := grpc.SetTrailer(ctx, metadata.Pairs("x-server", name)); err != nil {
			return nil, err
		}
		if string(request) == "fail" {
			return nil, status.Error(codes.FailedPrecondition, name+" fails")
		}
		return text(name + " got " + string(request)), nil
	}
}

func many(name string) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error {
		var request []byte
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		count, err := strconv.Atoi(string(request))
		for number := 0; err == nil && number < count; number++ {
			err = stream.SendMsg(text(fmt.Sprint(name, " ", number)))
		}
		return err
	}
}

func both(name string) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error {
		for {
			var request []byte
			if err := stream.RecvMsg(&request); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := stream.SendMsg(text(name + " heard " + string(request))); err != nil {
				return err
			}
		}
	}
}

func serve(name, port string) {
	listener, err := net.Listen("tcp", "0.0.0.0:"+port)
	check(err)
	server := grpc.NewServer(grpc.ForceServerCodec(raw{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "Echo",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Once", Handler: once(name)}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Many", Handler: many(name), ServerStreams: true},
			{StreamName: "Both", Handler: both(name), ServerStreams: true, ClientStreams: true},
		},
	}, nil)
	go func() { check(server.Serve(listener)) }()
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

func ask(port, user string) {
	channel, err := grpc.NewClient("127.0.0.1:"+port, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	check(err)
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), "x-user", user), 20*time.Second)
	defer cancel()

	var answer []byte
	var trailer metadata.MD
	check(channel.Invoke(ctx, "/Echo/Once", text("hello"), &answer, grpc.Trailer(&trailer)))
	fmt.Println(string(answer), trailer.Get("x-server")[0])
	failure := status.Convert(channel.Invoke(ctx, "/Echo/Once", text("fail"), &answer))
	if failure.Code() == codes.FailedPrecondition {
		fmt.Println("FAILED_PRECONDITION", failure.Message())
	} else {
		fmt.Println(failure)
	}

	stream, err := channel.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/Echo/Many")
	check(err)
	check(stream.SendMsg(text("3")))
	check(stream.CloseSend())
	for err = stream.RecvMsg(&answer); err == nil; err = stream.RecvMsg(&answer) {
		fmt.Println(string(answer))
	}
	if err != io.EOF {
		check(err)
	}

	// Each answer is waited for before the next request is sent.
	stream, err = channel.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/Echo/Both")
	check(err)
	for number := range 3 {
		check(stream.SendMsg(text(fmt.Sprint(number))))
		check(stream.RecvMsg(&answer))
		fmt.Println(string(answer))
	}
	check(stream.CloseSend())
	if err = stream.RecvMsg(&answer); err != io.EOF {
		fmt.Println("the stream did not end:", err)
	}
}

func main() {
	if os.Args[1] == "serve" {
		serve(os.Args[2], os.Args[3])
	} else {
		ask(os.Args[2], os.Args[3])
	}
}
