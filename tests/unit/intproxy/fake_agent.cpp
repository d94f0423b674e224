// tests/unit/intproxy/fake_agent.cpp — the fake agent's thread and its files.
#include "tests/unit/intproxy/fake_agent.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include "proto/codec.h"
#include "proto/errors.h"
#include "proto/stream_decoder.h"
#include "proto/version.h"

namespace mirrord::intproxy::test {
namespace {

constexpr std::uint32_t kTypeMask = 0170000;
constexpr std::uint32_t kDirectory = 0040000;

proto::ResponseError error(int number) {
  return proto::from_errno(number);
}

template <proto::FixedString Name, class T>
proto::FileResponse respond(T&& value) {
  auto response = proto::FileResponse::make<Name>();
  response.template get<Name>() = std::forward<T>(value);
  return response;
}

}  // namespace

FakeAgent::FakeAgent(Options options) : options_(std::move(options)) {
  add_directory("/");
  if (options_.listens) {
    listener_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any);
    ::listen(listener_.get(), 8);
  } else {
    std::array<int, 2> ends{};
    ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data());
    client_end_.reset(ends[0]);
    sockets_.emplace_back(ends[1]);
    socket_ = ends[1];
  }
  thread_ = std::thread([this] { run(); });
}

FakeAgent::~FakeAgent() {
  is_stopping_ = true;
  ::shutdown(listener_.get(), SHUT_RDWR);
  die();
  thread_.join();
}

std::string FakeAgent::address() const {
  sockaddr_in name{};
  socklen_t size = sizeof name;
  ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&name), &size);
  return "127.0.0.1:" + std::to_string(ntohs(name.sin_port));
}

void FakeAgent::speak_version(const std::string& version) {
  const auto guard = lock();
  options_.version = version;
}

void FakeAgent::stop_listening() {
  is_stopping_ = true;
  ::shutdown(listener_.get(), SHUT_RDWR);
}

void FakeAgent::say_close(const std::string& reason) {
  auto message = proto::DaemonMessage::make<"Close">();
  message.get<"Close">() = reason;
  say(message);
}

std::optional<proto::LayerTcpSteal> FakeAgent::hear_steal() {
  for (int i = 0; i < 1000; ++i) {
    {
      const auto guard = lock();
      if (!steal_messages_.empty()) {
        proto::LayerTcpSteal message = std::move(steal_messages_.front());
        steal_messages_.pop_front();
        return message;
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return std::nullopt;
}

void FakeAgent::say(const proto::DaemonMessage& message) {
  proto::Bytes bytes;
  [[maybe_unused]] const auto encoded = proto::encode(message, bytes);
  ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

void FakeAgent::add(const std::string& path, FakeFile file) {
  const auto guard = lock();
  file.inode = next_inode_++;
  files_[path] = std::move(file);
}

std::string FakeAgent::content(const std::string& path) {
  const auto guard = lock();
  return files_.contains(path) ? files_[path].content : "(missing)";
}

bool FakeAgent::exists(const std::string& path) {
  const auto guard = lock();
  return files_.contains(path);
}

void FakeAgent::intercept(Interceptor interceptor) {
  const auto guard = lock();
  interceptor_ = std::move(interceptor);
}

void FakeAgent::die() {
  ::shutdown(socket_, SHUT_RDWR);
}

void FakeAgent::die_at(std::size_t request) {
  const auto guard = lock();
  die_at_ = requests_ + request;
}

void FakeAgent::send_garbage() {
  const std::array<unsigned char, 4> garbage{0xFF, 0xFF, 0xFF, 0xFF};
  ::send(socket_, garbage.data(), garbage.size(), MSG_NOSIGNAL);
}

void FakeAgent::answer_nothing() {
  const auto guard = lock();
  is_mute_ = true;
  is_pinging_ = false;
}

void FakeAgent::answer_only_pings() {
  const auto guard = lock();
  is_mute_ = true;
}

std::size_t FakeAgent::open_descriptors() {
  const auto guard = lock();
  return descriptors_.size();
}

std::vector<std::string> FakeAgent::request_names() {
  const auto guard = lock();
  return names_;
}

void FakeAgent::run() {
  if (!options_.listens) {
    serve();
    return;
  }
  while (!is_stopping_) {
    Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket.is_open()) {
      return;
    }
    {
      const auto guard = lock();
      descriptors_.clear();
      next_descriptor_ = 0;
      die_at_ = 0;
    }
    socket_ = socket.get();
    sockets_.push_back(std::move(socket));
    ++clients_;
    serve();
    die();
  }
}

void FakeAgent::serve() {
  proto::ClientStreamDecoder decoder;
  while (true) {
    pollfd readable{socket_, POLLIN, 0};
    ::poll(&readable, 1, -1);
    std::vector<proto::ClientMessage> batch;
    do {
      const std::span<std::byte> space = decoder.writable();
      const ssize_t count = ::recv(socket_, space.data(), space.size(), 0);
      if (count <= 0) {
        return;
      }
      decoder.commit(static_cast<std::size_t>(count));
      while (true) {
        auto message = decoder.next();
        if (!message) {
          die();
          return;
        }
        if (!*message) {
          break;
        }
        batch.push_back(std::move(**message));
      }
    } while (::poll(&readable, 1, options_.quiet_ms) > 0);
    output_.clear();
    for (proto::ClientMessage& message : batch) {
      handle(std::move(message));
    }
    if (!output_.empty()) {
      ++round_trips_;
      std::span<const std::byte> rest = output_.span();
      while (!rest.empty()) {
        const ssize_t count = ::send(socket_, rest.data(), rest.size(), MSG_NOSIGNAL);
        if (count <= 0) {
          return;
        }
        rest = rest.subspan(static_cast<std::size_t>(count));
      }
    }
  }
}

void FakeAgent::send(proto::DaemonMessage&& message) {
  const auto encoded = proto::encode(message, output_);
  if (!encoded) {
    std::abort();
  }
}

void FakeAgent::handle(proto::ClientMessage&& message) {
  const auto guard = lock();
  if (auto* version = message.get_if<"SwitchProtocolVersion">()) {
    auto own = *proto::SemVer::parse(options_.version);
    proto::SemVer settled = proto::settle(own, *version);
    if (!options_.speaks_flight) {
      settled.build.clear();
    }
    auto response = proto::DaemonMessage::make<"SwitchProtocolVersionResponse">();
    response.get<"SwitchProtocolVersionResponse">() = settled;
    send(std::move(response));
    return;
  }
  if (message.is<"Ping">()) {
    if (is_pinging_) {
      send(proto::DaemonMessage::make<"Pong">());
    }
    return;
  }
  if (message.is<"GetEnvVarsRequest">()) {
    auto response = proto::DaemonMessage::make<"GetEnvVarsResponse">();
    proto::RemoteEnvVars variables;
    variables.emplace_back("REMOTE", "yes");
    response.get<"GetEnvVarsResponse">() = std::move(variables);
    send(std::move(response));
    return;
  }
  if (auto* steal = message.get_if<"TcpSteal">()) {
    if (const auto* type = steal->get_if<"PortSubscribe">()) {
      const auto* filtered = type->get_if<"FilteredHttpEx">();
      send(proto::DaemonMessage::make<"TcpSteal">(proto::DaemonTcp::make<"SubscribeResult">(
          filtered != nullptr ? filtered->port : type->get<"All">())));
    }
    steal_messages_.push_back(std::move(*steal));
    return;
  }
  auto* request = message.get_if<"FileRequest">();
  if (request == nullptr || is_mute_) {
    return;
  }
  ++requests_;
  names_.emplace_back(request->name());
  if (die_at_ != 0 && requests_ >= die_at_) {
    output_.clear();
    die();
    return;
  }
  std::optional<proto::FileResponse> response;
  if (interceptor_) {
    response = interceptor_(*request);
  }
  if (!response) {
    response = execute(*request);
  }
  if (response) {
    auto outgoing = proto::DaemonMessage::make<"File">();
    outgoing.get<"File">() = std::move(*response);
    send(std::move(outgoing));
  }
}

FakeFile* FakeAgent::file_of(std::uint64_t fd) {
  const auto descriptor = descriptors_.find(fd);
  if (descriptor == descriptors_.end()) {
    return nullptr;
  }
  const auto file = files_.find(descriptor->second.path);
  return file == files_.end() ? nullptr : &file->second;
}

proto::FileResponse FakeAgent::open(const std::string& path,
                                    const proto::OpenOptionsInternal& options) {
  const std::uint64_t number = options_.speaks_flight ? next_descriptor_++ : next_descriptor_;
  const auto found = files_.find(path);
  int failure = 0;
  if (found == files_.end() && !options.create && !options.create_new) {
    failure = ENOENT;
  } else if (found != files_.end() && options.create_new) {
    failure = EEXIST;
  } else if (found != files_.end() && (found->second.mode & kTypeMask) == kDirectory &&
             options.write) {
    failure = EISDIR;
  } else if (options.append && options.truncate) {
    failure = EINVAL;
  }
  if (failure != 0) {
    return respond<"Open">(proto::Res<proto::OpenFileResponse>(std::unexpected(error(failure))));
  }
  if (!options_.speaks_flight) {
    ++next_descriptor_;
  }
  FakeFile& file = files_[path];
  if (found == files_.end()) {
    file.inode = next_inode_++;
  }
  if (options.truncate) {
    file.content.clear();
  }
  descriptors_[number] = {.path = path, .is_append = options.append};
  return respond<"Open">(proto::Res<proto::OpenFileResponse>(proto::OpenFileResponse{number}));
}

proto::Res<proto::XstatResponse> FakeAgent::stat(const std::string& path) {
  std::string normal = path;
  if (normal.size() > 3 && normal.ends_with("/..")) {
    normal = "/";
  }
  const auto found = files_.find(normal);
  if (found == files_.end()) {
    return std::unexpected(error(ENOENT));
  }
  proto::XstatResponse response{};
  response.metadata.mode = found->second.mode;
  response.metadata.inode = found->second.inode;
  response.metadata.device_id = 7;
  response.metadata.hard_links = 1;
  response.metadata.size = found->second.shown_size.value_or(found->second.content.size());
  response.metadata.modification_time = 1'700'000'000'123'456'789;
  return response;
}

proto::Res<proto::ReadFileResponse> FakeAgent::read(std::uint64_t fd, std::uint64_t size,
                                                    std::optional<std::uint64_t> offset) {
  FakeFile* file = file_of(fd);
  if (file == nullptr) {
    return std::unexpected(proto::ResponseError::make<"NotFound">(fd));
  }
  if ((file->mode & kTypeMask) == kDirectory) {
    return std::unexpected(proto::ResponseError::make<"NotFile">(fd));
  }
  Descriptor& descriptor = descriptors_[fd];
  const std::uint64_t from =
      std::min<std::uint64_t>(offset.value_or(descriptor.position), file->content.size());
  const std::size_t count =
      std::min({static_cast<std::size_t>(size), file->content.size() - from, file->max_read});
  if (!offset) {
    descriptor.position = from + count;
  }
  return proto::ReadFileResponse{proto::Bytes(std::string_view(file->content).substr(from, count)),
                                 count};
}

proto::Res<proto::WriteFileResponse> FakeAgent::write(std::uint64_t fd, const proto::Bytes& bytes,
                                                      std::optional<std::uint64_t> offset) {
  FakeFile* file = file_of(fd);
  if (file == nullptr) {
    return std::unexpected(proto::ResponseError::make<"NotFound">(fd));
  }
  Descriptor& descriptor = descriptors_[fd];
  const std::uint64_t at =
      descriptor.is_append ? file->content.size() : offset.value_or(descriptor.position);
  const std::size_t count = std::min(bytes.size(), file->max_read);
  if (file->content.size() < at + count) {
    file->content.resize(at + count);
  }
  file->content.replace(at, count, bytes.text().substr(0, count));
  if (!offset) {
    descriptor.position = at + count;
  }
  return proto::WriteFileResponse{count};
}

// Nothing for requests without an answer.
std::optional<proto::FileResponse> FakeAgent::execute(proto::FileRequest& request) {
  if (auto* close = request.get_if<"Close">()) {
    descriptors_.erase(close->fd);
    return std::nullopt;
  }
  if (auto* close = request.get_if<"CloseDir">()) {
    descriptors_.erase(close->remote_fd);
    return std::nullopt;
  }

  if (auto* open_request = request.get_if<"Open">()) {
    return open(open_request->path.value, open_request->open_options);
  }
  if (auto* xstat = request.get_if<"Xstat">()) {
    if (xstat->path) {
      return respond<"Xstat">(stat(xstat->path->value));
    }
    const auto found = descriptors_.find(*xstat->fd);
    return respond<"Xstat">(found == descriptors_.end()
                                ? proto::Res<proto::XstatResponse>(std::unexpected(
                                      proto::ResponseError::make<"NotFound">(*xstat->fd)))
                                : stat(found->second.path));
  }
  if (auto* limited = request.get_if<"ReadLimited">()) {
    return respond<"ReadLimited">(
        read(limited->remote_fd, limited->buffer_size, limited->start_from));
  }
  if (auto* plain = request.get_if<"Read">()) {
    return respond<"Read">(read(plain->remote_fd, plain->buffer_size, std::nullopt));
  }
  if (auto* limited = request.get_if<"WriteLimited">()) {
    return respond<"WriteLimited">(
        write(limited->remote_fd, limited->write_bytes, limited->start_from));
  }
  if (auto* plain = request.get_if<"Write">()) {
    return respond<"Write">(write(plain->fd, plain->write_bytes, std::nullopt));
  }
  if (auto* seek = request.get_if<"Seek">()) {
    Descriptor& descriptor = descriptors_[seek->fd];
    if (auto* start = seek->seek_from.get_if<"Start">()) {
      descriptor.position = *start;
    } else if (auto* current = seek->seek_from.get_if<"Current">()) {
      descriptor.position += static_cast<std::uint64_t>(*current);
    } else {
      descriptor.position = file_of(seek->fd)->content.size();
    }
    return respond<"Seek">(
        proto::Res<proto::SeekFileResponse>(proto::SeekFileResponse{descriptor.position}));
  }
  return execute_on_directory(request);
}

proto::FileResponse FakeAgent::execute_on_directory(proto::FileRequest& request) {
  if (auto* directory = request.get_if<"FdOpenDir">()) {
    const std::uint64_t number = next_descriptor_++;
    descriptors_[number] = {.path = descriptors_[directory->remote_fd].path, .is_listing = true};
    return respond<"OpenDir">(proto::Res<proto::OpenDirResponse>(proto::OpenDirResponse{number}));
  }
  if (auto* batch = request.get_if<"ReadDirBatch">()) {
    Descriptor& descriptor = descriptors_[batch->remote_fd];
    const std::string base = descriptor.path == "/" ? "/" : descriptor.path + "/";
    proto::ReadDirBatchResponse response{batch->remote_fd, {}};
    std::uint64_t index = 0;
    for (const auto& [path, file] : files_) {
      const bool is_entry = path.starts_with(base) && path.size() > base.size() &&
                            path.find('/', base.size()) == std::string::npos;
      if (is_entry && index++ >= descriptor.position &&
          response.dir_entries.size() < batch->amount) {
        response.dir_entries.push_back({file.inode, index, path.substr(base.size()), 8});
      }
    }
    descriptor.position += response.dir_entries.size();
    return respond<"ReadDirBatch">(proto::Res<proto::ReadDirBatchResponse>(std::move(response)));
  }
  return execute_change(request);
}

proto::FileResponse FakeAgent::execute_change(proto::FileRequest& request) {
  using R = proto::FileRequest;
  const auto status = [](int number) {
    return number == 0 ? proto::Res<proto::Unit>(proto::Unit{})
                       : proto::Res<proto::Unit>(std::unexpected(error(number)));
  };
  if (auto* change = request.get_if<"Fchmod">()) {
    FakeFile* file = file_of(change->fd);
    if (file != nullptr) {
      file->mode = (file->mode & kTypeMask) | change->mode;
    }
    return respond<"Fchmod">(status(file == nullptr ? EBADF : 0));
  }
  if (auto* change = request.get_if<"Ftruncate">()) {
    FakeFile* file = file_of(change->fd);
    if (file != nullptr) {
      file->content.resize(static_cast<std::size_t>(change->length));
    }
    return respond<"Ftruncate">(status(file == nullptr ? EBADF : 0));
  }
  if (auto* unlink = request.get_if<"Unlink">()) {
    return respond<"Unlink">(status(files_.erase(unlink->pathname.value) > 0 ? 0 : ENOENT));
  }
  if (auto* make = request.get_if<"MakeDir">()) {
    files_[make->pathname.value] = {.mode = kDirectory | make->mode, .inode = next_inode_++};
    return respond<"MakeDir">(status(0));
  }
  if (auto* move = request.get_if<"Rename">()) {
    auto node = files_.extract(move->old_path.value);
    if (node.empty()) {
      return respond<"Rename">(status(ENOENT));
    }
    node.key() = move->new_path.value;
    files_.insert(std::move(node));
    return respond<"Rename">(status(0));
  }
  if (auto* access = request.get_if<"Access">()) {
    return respond<"Access">(status(files_.contains(access->pathname.value) ? 0 : ENOENT));
  }
  if (request.index() == R::index_of<"ReadLink">) {
    return respond<"ReadLink">(
        proto::Res<proto::ReadLinkFileResponse>(proto::ReadLinkFileResponse{"/target"}));
  }
  std::abort();  // a request that no test expects
}

}  // namespace mirrord::intproxy::test
