// applets/intproxy/stream_server.cpp — answers one client's wishes for streams.
#include "applets/intproxy/stream_server.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "applets/intproxy/stream_packet.h"
#include "net/unix_socket.h"

namespace mirrord::intproxy {

using std::chrono::milliseconds;

StreamServer::StreamServer(net::Loop& loop, AgentStream stream, Notice notice)
    : loop_(loop), stream_(std::move(stream)), notice_(std::move(notice)) {
  if (!stream_.connector) {
    return;
  }
  stream_.connector->set_events({.notice = [this](std::string line) { notice_(line); },
                                 .leave =
                                     [this](std::string why) {
                                       if (client_) {
                                         static_cast<void>(send_stream_packet(
                                             client_.get(), StreamPacketKind::kLeave, {why}));
                                       }
                                     }});
}

StreamServer::~StreamServer() {
  drop_client();
  stream_.socket.reset();
}

Status StreamServer::listen(const std::string& path) {
  constexpr int kBacklog = 4;
  MIRRORD_TRY(socket, net::listen_unix(path, kBacklog));
  listener_ = std::make_unique<net::Listener>(
      loop_, std::move(socket),
      [this](Fd connection, const sockaddr_storage&) { accept_client(std::move(connection)); });
  return {};
}

void StreamServer::accept_client(Fd socket) {
  drop_client();
  client_ = std::move(socket);
  const AgentConnector* connector = stream_.connector.get();
  const auto yes_or_no = [](bool is_so) { return std::string(is_so ? "1" : "0"); };
  const long limit = connector == nullptr ? 0 : connector->reopen_limit().count();
  const bool replaces = connector != nullptr && connector->replaces_agents();
  const Status sent = send_stream_packet(
      client_.get(), StreamPacketKind::kHello,
      {yes_or_no(connector != nullptr), yes_or_no(replaces), std::to_string(limit)});
  if (!sent) {
    drop_client();
    return;
  }
  receiving_ = std::make_unique<net::FdWatcher>(loop_, client_.get(), [this](int) { on_packet(); });
  receiving_->watch(net::FdWatcher::kReadable);
}

void StreamServer::on_packet() {
  const auto packet = receive_stream_packet(client_.get());
  if (!packet) {
    if (packet.error().sys != EAGAIN) {
      drop_client();
    }
    return;
  }
  if (packet->kind == StreamPacketKind::kAccepted && stream_.connector) {
    stream_.connector->accepted();
  } else if (packet->kind == StreamPacketKind::kReopen && packet->texts.size() == 1) {
    reopen(milliseconds(number_of(packet->texts[0])));
  }
}

void StreamServer::reopen(milliseconds limit) {
  if (stream_.socket) {
    send(ReopenedStream{std::move(stream_.socket), stream_.peer_name, ""});
  } else if (!stream_.connector) {
    send(fail(ErrorCode::kNotFound, "the agent has ended: it served one session"));
  } else if (!is_reopening_) {
    is_reopening_ = true;
    stream_.connector->reopen(limit, [this](Result<ReopenedStream> stream) {
      is_reopening_ = false;
      send(stream);
    });
  }
}

void StreamServer::send(const Result<ReopenedStream>& stream) {
  if (!client_) {
    return;
  }
  const Status sent =
      stream
          ? send_stream_packet(client_.get(), StreamPacketKind::kStream,
                               {stream->peer_name, stream->notice}, stream->socket.get())
          : send_stream_packet(client_.get(), StreamPacketKind::kFailure, texts_of(stream.error()));
  if (!sent) {
    drop_client();
  }
}

void StreamServer::drop_client() {
  receiving_.reset();
  client_.reset();
}

std::string StreamServer::last_words() {
  stream_.socket.reset();
  return stream_.process ? stream_.process->last_words() : "";
}

void StreamServer::finish(milliseconds limit) {
  listener_.reset();
  drop_client();
  stream_.socket.reset();
  if (stream_.connector) {
    stream_.connector->finish(limit);
  }
}

}  // namespace mirrord::intproxy
