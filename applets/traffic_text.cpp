// applets/traffic_text.cpp — one form for each kind of message; text where it is text, else hex.
#include "applets/traffic_text.h"

#include <algorithm>
#include <string_view>

#include "proto/hints.h"
#include "proto/text.h"

namespace mirrord {
namespace {

using proto::DaemonTcp;

// Control characters could change the terminal that shows them.
bool is_printable(std::string_view text) {
  const auto is_control = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\n' && c != '\r' && c != '\t') || byte == 0x7f;
  };
  if (!proto::is_utf8(text) || std::ranges::any_of(text, is_control)) {
    return false;
  }
  // The controls of the upper half, which terminals obey too: C2 80 to C2 9F.
  for (std::size_t at = text.find('\xc2'); at != std::string_view::npos;
       at = text.find('\xc2', at + 1)) {
    if (at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) < 0xa0) {
      return false;
    }
  }
  return true;
}

std::string shown(std::string_view text) {
  if (is_printable(text) && text.find_first_of("\r\n") == std::string_view::npos) {
    return std::string(text);
  }
  std::string hex = "hex ";
  proto::append_hex(hex, text);
  return hex;
}

void append_data(std::string& out, std::string_view bytes) {
  if (is_printable(bytes)) {
    out.append("Data:\n").append(bytes);
  } else {
    out += "Data (hex):\n";
    proto::append_hex(out, bytes);
  }
  out += '\n';
}

std::string endpoint(const proto::Ip& ip, proto::Port port) {
  return proto::SockAddr{ip, port}.to_string();
}

std::string transport_name(const proto::IncomingTrafficTransportType& transport,
                           std::string_view plain, std::string_view secure) {
  const auto* tls = transport.get_if<"Tls">();
  if (tls == nullptr) {
    return std::string(plain);
  }
  std::string text(secure);
  text += " (ALPN=" + (tls->alpn_protocol ? shown(tls->alpn_protocol->text()) : "none");
  return text + ", SNI=" + (tls->server_name ? shown(*tls->server_name) : "none") + ")";
}

std::string connection_text(const proto::NewTcpConnectionV1& made, std::string_view transport) {
  return "## New " + std::string(transport) + " connection established: Connection ID " +
         std::to_string(made.connection_id) + " from " +
         endpoint(made.remote_address, made.source_port) + " to " +
         endpoint(made.local_address, made.destination_port) + "\n";
}

std::string request_name(proto::ConnectionId connection, proto::RequestId request) {
  return "Request ID [" + std::to_string(connection) + ":" + std::to_string(request) + "]";
}

template <class Body>
std::string head_text(const proto::InternalHttpRequest<Body>& request) {
  std::string text = shown(request.method.text) + " " + shown(request.uri.text) + " ";
  text.append(proto::to_string(request.version)).append("\n");
  for (const proto::HttpHeader& header : request.headers.entries) {
    for (const std::string& value : header.values) {
      text += header.name + ": " + shown(value) + "\n";
    }
  }
  return text + "\n";
}

std::string frames_text(const std::string& name, const proto::InternalHttpBody& frames) {
  std::string text;
  for (const proto::InternalHttpBodyFrame& frame : frames) {
    if (const auto* data = frame.get_if<"Data">()) {
      text += "## " + name + ": " + std::to_string(data->size()) + " bytes\n";
      append_data(text, data->text());
      continue;
    }
    text += "## " + name + ": trailers\n";
    for (const proto::HttpHeader& header : frame.get<"Trailers">().entries) {
      for (const std::string& value : header.values) {
        text += header.name + ": " + shown(value) + "\n";
      }
    }
  }
  return text;
}

// A request of the forms that only say the port.
template <class Body>
std::string begin_text(const proto::HttpRequest<Body>& request) {
  return "## New HTTP request received: " +
         request_name(request.connection_id, request.request_id) + " to port " +
         std::to_string(request.port) + "\n" + head_text(request.internal_request);
}

std::string finished(const std::string& name) {
  return "## " + name + " finished\n";
}

std::string start_text(const proto::ChunkedRequestStartV2& start) {
  const std::string name = request_name(start.connection_id, start.request_id);
  const auto& ends = start.metadata.get<"V1">();
  std::string text = "## New " + transport_name(start.transport, "HTTP", "HTTPS") +
                     " request received: " + name + " from " + ends.source.to_string() + " to " +
                     ends.destination.to_string() + "\n" + head_text(start.request) +
                     frames_text(name, start.request.body.frames);
  return start.request.body.is_last ? text + finished(name) : text;
}

std::string chunk_text(const proto::ChunkedRequest& message) {
  using proto::ChunkedRequest;
  switch (message.index()) {
    case ChunkedRequest::index_of<"StartV1">: {
      const auto& start = message.get<"StartV1">();
      return begin_text(start) + frames_text(request_name(start.connection_id, start.request_id),
                                             start.internal_request.body);
    }
    case ChunkedRequest::index_of<"StartV2">:
      return start_text(message.get<"StartV2">());
    case ChunkedRequest::index_of<"Body">: {
      const auto& body = message.get<"Body">();
      const std::string name = request_name(body.connection_id, body.request_id);
      return frames_text(name, body.frames) + (body.is_last ? finished(name) : "");
    }
    case ChunkedRequest::index_of<"ErrorV1">: {
      const auto& error = message.get<"ErrorV1">();
      return "## " + request_name(error.connection_id, error.request_id) + " failed\n";
    }
    default: {
      const auto& error = message.get<"ErrorV2">();
      return "## " + request_name(error.connection_id, error.request_id) +
             " failed: " + shown(error.error_message) + "\n";
    }
  }
}

}  // namespace

std::string traffic_text(const DaemonTcp& message) {
  switch (message.index()) {
    case DaemonTcp::index_of<"NewConnectionV1">:
      return connection_text(message.get<"NewConnectionV1">(), "TCP");
    case DaemonTcp::index_of<"NewConnectionV2">: {
      const auto& made = message.get<"NewConnectionV2">();
      return connection_text(made.connection, transport_name(made.transport, "TCP", "TLS"));
    }
    case DaemonTcp::index_of<"Data">: {
      const auto& data = message.get<"Data">();
      if (data.bytes.empty()) {  // the client has ended its half
        return "## Connection ID " + std::to_string(data.connection_id) + ": end of data\n";
      }
      std::string text = "## Connection ID " + std::to_string(data.connection_id) + ": " +
                         std::to_string(data.bytes.size()) + " bytes\n";
      append_data(text, data.bytes.text());
      return text;
    }
    case DaemonTcp::index_of<"Close">: {
      const proto::ConnectionId id = message.get<"Close">().connection_id;
      return proto::without_hint(id) != id ? ""
                                           : "## Connection ID " + std::to_string(id) + " closed\n";
    }
    case DaemonTcp::index_of<"HttpRequest">: {
      const auto& request = message.get<"HttpRequest">();
      const std::string name = request_name(request.connection_id, request.request_id);
      const auto& body = request.internal_request.body;
      std::string text = begin_text(request);
      if (!body.empty()) {
        text += "## " + name + ": " + std::to_string(body.size()) + " bytes\n";
        append_data(text, body.text());
      }
      return text + finished(name);
    }
    case DaemonTcp::index_of<"HttpRequestFramed">: {
      const auto& request = message.get<"HttpRequestFramed">();
      const std::string name = request_name(request.connection_id, request.request_id);
      return begin_text(request) + frames_text(name, request.internal_request.body) +
             finished(name);
    }
    case DaemonTcp::index_of<"HttpRequestChunked">:
      return chunk_text(message.get<"HttpRequestChunked">());
    default:
      return {};
  }
}

}  // namespace mirrord
