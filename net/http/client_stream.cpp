// net/http/client_stream.cpp — bytes between the socket and the engine, events to the users.
#include "net/http/client_stream.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace mirrord::net::http {

ClientStream::ClientStream(Loop& loop, Owner& owner, Fd socket, Protocol protocol,
                           const Endpoint& peer)
    : owner_(owner),
      peer_(peer),
      stream_(std::make_unique<Stream>(loop, std::move(socket), "the server")),
      http_(protocol,
            {
                .output = [this](std::span<const std::byte> bytes) { stream_->write(bytes); },
                .interim =
                    [this](ExchangeId id, ResponseHead&& head) {
                      if (User* user = touch(id)) {
                        user->interim(std::move(head));
                      }
                    },
                .response =
                    [this](ExchangeId id, ResponseHead&& head, BodyStart start) {
                      if (User* user = touch(id)) {
                        user->answer(std::move(head), start);
                      }
                    },
                .body =
                    [this](ExchangeId id, std::span<const std::byte> bytes) {
                      if (User* user = touch(id)) {
                        user->answer_body(bytes);
                      }
                    },
                .body_end =
                    [this](ExchangeId id, Headers&& trailers) {
                      if (User* user = touch(id)) {
                        user->answer_end(std::move(trailers));
                      }
                    },
                .failed = [this](ExchangeId id,
                                 Failure&& failure) { request_failed(id, std::move(failure)); },
                .drained =
                    [this](ExchangeId id) {
                      if (User* user = find(id)) {
                        user->drained();
                      }
                    },
                .input_wanted = [] {},  // flow() looks
                .ready = [this] { owner_.is_ready(*this); },
                .closed = [this](Close how) { http_closed(how); },
            }) {}

ClientStream::~ClientStream() {
  owner_.closing(stream_->fd());
}

void ClientStream::start() {
  Stream::Handlers handlers;
  handlers.buffer = [this] { return space_ = owner_.input_space(); };
  handlers.received = [this](std::size_t count) { read(count); };
  handlers.ended = [this] {
    const auto self = shared_from_this();
    http_.receive_end();
    settle();
  };
  handlers.failed = [this](const Error& why) { lost(why); };
  handlers.drained = [this] {
    const auto self = shared_from_this();
    settle();
  };
  handlers.finished = [this] {
    const auto self = shared_from_this();
    if (is_closed_) {
      is_dropped_ = true;
      settle();
    }
  };
  stream_->start(std::move(handlers));
}

// ---- from the server

ClientStream::User* ClientStream::find(ExchangeId id) {
  const auto found = users_.find(id);
  return found == users_.end() ? starting_ : found->second;
}

ClientStream::User* ClientStream::touch(ExchangeId id) {
  if (touched_.empty() || touched_.back() != id) {
    touched_.push_back(id);
  }
  return find(id);
}

void ClientStream::read(std::size_t count) {
  const auto self = shared_from_this();
  is_connected = true;
  http_.receive(space_.first(count));
  settle();
}

void ClientStream::lost(const Error& why) {
  const auto self = shared_from_this();
  cause_ = why.what;
  is_dropped_ = true;
  http_.receive_failure();
  settle();
}

void ClientStream::request_failed(ExchangeId id, Failure&& failure) {
  User* user = find(id);
  if (users_.erase(id) == 0) {
    starting_ = nullptr;
  }
  if (user != nullptr) {
    if (!cause_.empty()) {
      failure.why += " (" + cause_ + ")";
    }
    user->failed(std::move(failure));
  }
}

void ClientStream::http_closed(Close how) {
  if (how == Close::kSending) {
    stream_->finish_writing();
    return;
  }
  is_closed_ = true;
  is_dropped_ = is_dropped_ || how == Close::kReset;
}

// After every call into the engine.
void ClientStream::settle() {
  for (const ExchangeId id : std::exchange(touched_, {})) {
    if (const auto found = users_.find(id); found != users_.end()) {
      found->second->batch_ended();
    }
  }
  if (!is_closed_) {
    return flow();
  }
  // Their answers are complete: who had none was told of a failure.
  for (const auto& [id, user] : std::exchange(users_, {})) {
    user->connection_closed();
  }
  if (is_reported_) {
    return;
  }
  if (is_dropped_ || stream_->queued_bytes() == 0) {
    is_reported_ = true;
    owner_.is_over(*this);
  } else {
    stream_->finish_writing();  // then `finished`
  }
}

// Back-pressure, both ways.
void ClientStream::flow() {
  const bool is_full = stream_->is_above_high_mark();
  if (is_full != is_held_) {
    is_held_ = is_full;
    http_.hold_output(is_full);
  }
  if (const bool is_wanted = http_.wants_input(); is_wanted != is_reading_) {
    is_reading_ = is_wanted;
    is_wanted ? stream_->resume_reading() : stream_->pause_reading();
  }
}

// ---- from the users

std::optional<ExchangeId> ClientStream::request(User& user, const RequestHead& head,
                                                BodyStart start) {
  const auto self = shared_from_this();
  ++requests_;
  starting_ = &user;
  const auto id = http_.request(head, start);
  if (std::exchange(starting_, nullptr) != nullptr && id) {
    users_.emplace(*id, &user);
  }
  settle();
  return id;
}

void ClientStream::body(ExchangeId id, std::span<const std::byte> bytes) {
  const auto self = shared_from_this();
  http_.body(id, bytes);
  settle();
}

void ClientStream::end(ExchangeId id, const Headers& trailers) {
  const auto self = shared_from_this();
  http_.end(id, trailers);
  settle();
}

void ClientStream::consumed(ExchangeId id, std::size_t bytes) {
  const auto self = shared_from_this();
  http_.consumed(id, bytes);
  settle();
}

void ClientStream::leave(ExchangeId id) {
  const auto self = shared_from_this();
  users_.erase(id);
  http_.cancel(id);
  if (is_closed_) {
    is_dropped_ = true;
  }
  settle();
}

void ClientStream::give_up(const std::string& why) {
  const auto self = shared_from_this();
  cause_ = why;
  is_dropped_ = true;
  http_.receive_failure();
  is_closed_ = true;
  settle();
}

void ClientStream::shut_down() {
  const auto self = shared_from_this();
  http_.shut_down();
  is_closed_ = true;
  settle();
}

bool ClientStream::is_still_open() const {
  char byte = 0;
  return ::recv(stream_->fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
         (errno == EAGAIN || errno == EINTR);
}

}  // namespace mirrord::net::http
