// applets/intproxy/local_server.cpp — accepts hooks, reads one packet at a time and sends answers.
#include "applets/intproxy/local_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "net/descriptor_packet.h"
#include "net/unix_socket.h"

namespace mirrord::intproxy {
namespace {

constexpr std::size_t kMaxDescriptors = 4;  // in one packet; more are closed by the kernel
constexpr int kBacklog = 1024;
constexpr int kMostPackets = 4096;  // more than a socket holds

bool is_one_way(local::MessageType type) {
  switch (type) {
    case local::MessageType::kHello:
    case local::MessageType::kFork:
    case local::MessageType::kExec:
    case local::MessageType::kLog:
    case local::MessageType::kLogDecision:
    case local::MessageType::kNudge:
    case local::MessageType::kListening:
    case local::MessageType::kReleaseSocket:
    case local::MessageType::kListenerClosed:
      return true;
    default:
      return false;
  }
}

}  // namespace

// ---- Call

Call::Call(std::shared_ptr<LocalConnection> connection, local::MessageType type)
    : connection_(std::move(connection)), type_(type) {}

Call& Call::operator=(Call&& other) noexcept {
  if (this != &other) {
    fail(EIO);
    connection_ = std::move(other.connection_);
    type_ = other.type_;
  }
  return *this;
}

Call::~Call() {
  fail(EIO);
}

void Call::fail(int error_number) {
  send(error_number, {}, {}, -1);
}

void Call::succeed() {
  send(0, {}, {}, -1);
}

void Call::ignore() {
  if (connection_ != nullptr) {
    const std::shared_ptr<LocalConnection> connection = std::move(connection_);
    connection->finish_call();
  }
}

void Call::disconnect() {
  if (connection_ != nullptr) {
    const std::shared_ptr<LocalConnection> connection = std::move(connection_);
    connection->close();
  }
}

bool Call::is_awaited() const {
  return connection_ != nullptr && connection_->is_open();
}

void Call::send(int error_number, std::span<const std::byte> fixed, std::span<const std::byte> tail,
                int descriptor) {
  if (connection_ == nullptr) {
    return;
  }
  const std::shared_ptr<LocalConnection> connection = std::move(connection_);
  if (!is_one_way(type_)) {
    connection->send(error_number, type_, fixed, tail, descriptor);
    connection->finish_call();
  }
}

// ---- LocalConnection

LocalConnection::LocalConnection(LocalServer& server, Fd socket, pid_t peer)
    : server_(server), socket_(std::move(socket)), peer_(peer) {}

LocalConnection::~LocalConnection() = default;

void LocalConnection::start() {
  watcher_ = std::make_unique<net::FdWatcher>(server_.loop_, socket_.get(),
                                              [this](int events) { on_ready(events); });
  is_watching_input_ = true;
  watcher_->watch(net::FdWatcher::kReadable);
}

void LocalConnection::close() {
  if (!socket_.is_open()) {
    return;
  }
  const std::shared_ptr<LocalConnection> self = shared_from_this();
  watcher_.reset();
  socket_.reset();
  server_.connections_.erase(this);
  server_.handlers_.closed(*this);
}

void LocalConnection::on_ready(int events) {
  const std::shared_ptr<LocalConnection> self = shared_from_this();
  if ((events & net::FdWatcher::kWritable) != 0 && !unsent_.empty()) {
    const std::vector<std::byte> packet = std::exchange(unsent_, {});
    const Fd descriptor = std::move(unsent_descriptor_);
    transmit(packet, {}, {}, descriptor.get());
    if (socket_.is_open() && unsent_.empty()) {
      watcher_->watch(net::FdWatcher::kReadable);
      is_watching_input_ = true;
    }
    return;
  }
  if ((events & net::FdWatcher::kReadable) == 0) {
    return;
  }
  if (has_call_) {
    // Either the program is gone or it sends before it was answered. The second can wait.
    std::byte byte;
    if (::recv(socket_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0 && errno != EAGAIN) {
      close();
    } else {
      watcher_->watch(net::FdWatcher::kNone);
      is_watching_input_ = false;
    }
    return;
  }
  if (!receive()) {
    close();
  }
}

// False when the connection must be closed.
bool LocalConnection::receive() {
  alignas(cmsghdr)
      std::array<char, CMSG_SPACE(sizeof(int) * kMaxDescriptors) + CMSG_SPACE(sizeof(ucred))>
          control;
  iovec part{server_.buffer_.data(), server_.buffer_.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t count = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (count < 0) {
    return errno == EAGAIN || errno == EINTR;
  }
  Request request{};
  for (cmsghdr* part_header = CMSG_FIRSTHDR(&message); part_header != nullptr;
       part_header = CMSG_NXTHDR(&message, part_header)) {
    if (part_header->cmsg_level != SOL_SOCKET) {
      continue;
    }
    if (part_header->cmsg_type == SCM_RIGHTS) {
      const std::size_t descriptors = (part_header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < descriptors; ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(part_header) + i * sizeof(int), sizeof(int));
        request.descriptors.emplace_back(fd);
      }
    } else if (part_header->cmsg_type == SCM_CREDENTIALS && peer_ == 0) {
      ucred credentials;
      std::memcpy(&credentials, CMSG_DATA(part_header), sizeof credentials);
      peer_ = credentials.pid;
    }
  }
  if (count == 0) {
    return false;
  }
  local::LocalHeader header;
  if (static_cast<std::size_t>(count) < sizeof header || (message.msg_flags & MSG_TRUNC) != 0) {
    server_.handlers_.refused(*this, "a packet of a wrong size");
    return false;
  }
  std::memcpy(&header, server_.buffer_.data(), sizeof header);
  request.type = header.type;
  request.body = std::span(server_.buffer_)
                     .subspan(sizeof header, static_cast<std::size_t>(count) - sizeof header);
  has_call_ = !is_one_way(header.type);
  server_.handlers_.request(*this, std::move(request), Call(shared_from_this(), header.type));
  return true;
}

void LocalConnection::receive_rest() {
  std::byte byte;
  for (int packets = 0; packets < kMostPackets && socket_.is_open() && !has_call_ &&
                        ::recv(socket_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
       ++packets) {
    if (!receive()) {
      close();
    }
  }
}

void LocalConnection::send(int error_number, local::MessageType type,
                           std::span<const std::byte> fixed, std::span<const std::byte> tail,
                           int descriptor) {
  if (answer_watcher_) {
    std::exchange(answer_watcher_, nullptr)(error_number, fixed);
  }
  if (socket_.is_open()) {
    const local::LocalHeader header{type, error_number};
    transmit(std::as_bytes(std::span(&header, 1)), fixed, tail, descriptor);
  }
}

void LocalConnection::transmit(std::span<const std::byte> first, std::span<const std::byte> second,
                               std::span<const std::byte> third, int descriptor) {
  const auto part_of = [](std::span<const std::byte> bytes) {
    return iovec{const_cast<std::byte*>(bytes.data()), bytes.size()};
  };
  const std::array<iovec, 3> parts{part_of(first), part_of(second), part_of(third)};
  const Status sent = net::send_descriptor_packet(socket_.get(), parts, descriptor);
  if (sent) {
    return;
  }
  if (sent.error().sys != EAGAIN) {
    close();
    return;
  }
  // The hook has not read an earlier answer: it broke the rule of one call at a time, or signals
  // keep it from reading. At most this one packet is kept.
  for (const std::span<const std::byte> bytes : {first, second, third}) {
    unsent_.insert(unsent_.end(), bytes.begin(), bytes.end());
  }
  if (descriptor >= 0) {
    unsent_descriptor_.reset(::dup(descriptor));
  }
  watcher_->watch(net::FdWatcher::kWritable);
  is_watching_input_ = false;
}

void LocalConnection::finish_call() {
  has_call_ = false;
  if (socket_.is_open() && !is_watching_input_ && unsent_.empty()) {
    is_watching_input_ = true;
    watcher_->watch(net::FdWatcher::kReadable);
  }
}

// ---- LocalServer

LocalServer::LocalServer(net::Loop& loop, Handlers handlers)
    : loop_(loop), handlers_(std::move(handlers)), buffer_(local::kMaxPacket) {}

LocalServer::~LocalServer() {
  handlers_.closed = [](LocalConnection&) {};
  close_all();
}

Status LocalServer::listen(const std::string& path, bool accepts_any_user) {
  accepts_any_user_ = accepts_any_user;
  MIRRORD_TRY(socket, net::listen_unix(path, kBacklog));
  if (accepts_any_user && ::chmod(path.c_str(), 0666) != 0) {
    return fail_system("let all users connect to " + path, errno);
  }
  listener_ = std::make_unique<net::Listener>(
      loop_, std::move(socket),
      [this](Fd connection, const sockaddr_storage&) { accept(std::move(connection)); });
  return {};
}

void LocalServer::accept(Fd socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  const bool is_known =
      ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0;
  if (is_known && (accepts_any_user_ || credentials.uid == ::geteuid() || credentials.uid == 0)) {
    adopt(std::move(socket), credentials.pid);
  }
}

std::shared_ptr<LocalConnection> LocalServer::adopt(Fd socket, pid_t peer) {
  if (peer == 0) {
    const int on = 1;  // tells the child's pid with its first packet
    ::setsockopt(socket.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  }
  auto connection = std::make_shared<LocalConnection>(*this, std::move(socket), peer);
  connections_.emplace(connection.get(), connection);
  connection->start();
  return connection;
}

void LocalServer::stop_listening() {
  listener_.reset();
}

std::vector<std::shared_ptr<LocalConnection>> LocalServer::connections_of(
    const Process& process) const {
  std::vector<std::shared_ptr<LocalConnection>> found;
  for (const auto& [address, connection] : connections_) {
    if (connection->process() == &process) {
      found.push_back(connection);
    }
  }
  return found;
}

void LocalServer::read_rest_of(const Process& process) {
  for (const std::shared_ptr<LocalConnection>& connection : connections_of(process)) {
    connection->receive_rest();
  }
}

void LocalServer::close_connections_of(const Process& process) {
  for (const std::shared_ptr<LocalConnection>& connection : connections_of(process)) {
    connection->set_process(nullptr);
    connection->close();
  }
}

void LocalServer::close_all() {
  stop_listening();
  while (!connections_.empty()) {
    const std::shared_ptr<LocalConnection> connection = connections_.begin()->second;
    connection->close();
  }
}

}  // namespace mirrord::intproxy
