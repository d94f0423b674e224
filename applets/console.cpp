// applets/console.cpp — `mirrord console`: prints the log lines of every session that is told of it.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <utility>

#include "applets/applet.h"
#include "applets/exec.h"
#include "applets/log/console_records.h"
#include "applets/log/log.h"
#include "net/address.h"
#include "net/ending_signals.h"
#include "net/fd.h"
#include "net/leave.h"
#include "net/listener.h"
#include "net/loop.h"

namespace mirrord {
namespace {

constexpr std::string_view kDefaultAddress = "127.0.0.1:11233";
constexpr int kBacklog = 64;
constexpr std::size_t kMaxClients = 256;
constexpr std::size_t kLengthSize = 4;

constexpr std::array kFlags = {
    Flag{"address", 'a', Takes::kValue, "ADDRESS:PORT", "", "127.0.0.1:11233",
         "where to listen; what sessions send is not encrypted"},
    Flag{"filter", 'f', Takes::kValue, "FILTER", "", "",
         "what to show, as MIRRORD_LOG has it: \"info\", \"debug,files=off\", \"incoming=trace\""},
};

std::string clock_text() {
  return log::time_text("%H:%M:%S", ::localtime_r);
}

// Without a reader there is nothing left to do.
void print(const std::string& line) {
  if (std::fputs((line + "\n").c_str(), stdout) < 0 || std::fflush(stdout) != 0)
    leave(errno == EPIPE ? 0 : 1);
}

// One process that sends its log.
class Client {
 public:
  Client(net::Loop& loop, Fd socket, const log::Filter& filter, std::function<void()> over)
      : socket_(std::move(socket)),
        filter_(filter),
        over_(std::move(over)),
        watcher_(loop, socket_.get(), [this](int) { read(); }) {
    watcher_.watch(net::FdWatcher::kReadable);
  }

 private:
  // Destroys itself at the end.
  void read() {
    std::array<char, 64 * 1024> piece;
    const ssize_t count = ::recv(socket_.get(), piece.data(), piece.size(), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
      return;
    if (count <= 0) {
      if (is_known_)
        print(clock_text() + " " + name_ + " has ended");
      return end();
    }
    input_.append(piece.data(), static_cast<std::size_t>(count));
    if (const Status taken = take_frames(); !taken) {
      print(clock_text() + " " + name_ + " is not understood, and closed: " + taken.error().what);
      end();
    }
  }

  void end() {
    const auto over = std::move(over_);
    over();
  }

  Status take_frames() {
    std::size_t at = 0;
    while (input_.size() - at >= kLengthSize) {
      std::size_t size = 0;
      for (std::size_t i = 0; i < kLengthSize; ++i)
        size = size << 8 | static_cast<unsigned char>(input_[at + i]);
      if (size > log::kMaxConsoleFrame)
        return fail(ErrorCode::kPeer, "a message of " + std::to_string(size) + " bytes");
      if (input_.size() - at - kLengthSize < size)
        break;
      MIRRORD_CHECK_STATUS(take(std::string_view(input_).substr(at + kLengthSize, size)));
      at += kLengthSize + size;
    }
    input_.erase(0, at);
    return {};
  }

  Status take(std::string_view body) {
    if (!is_known_) {
      MIRRORD_TRY(hello, log::parse_console_hello(body));
      const std::size_t which = hello.arguments.size() > 1 ? 1 : 0;
      name_ = (hello.arguments.empty() ? "process" : log::one_line(hello.arguments[which])) + "[" +
              std::to_string(hello.pid) + "]";
      is_known_ = true;
      return {};
    }
    MIRRORD_TRY(record, log::parse_console_record(body));
    const auto component = log::component_of(record.target);
    if (filter_.allows(component.value_or(log::Component::kSession), record.level)) {
      print(clock_text() + " " + std::string(log::name_of(record.level)) + " " + name_ + " " +
            (component ? std::string(log::name_of(*component)) : log::one_line(record.target)) +
            ": " + log::one_line(record.message));
    }
    return {};
  }

  Fd socket_;
  const log::Filter& filter_;
  std::function<void()> over_;
  std::string name_ = "a client";
  bool is_known_ = false;
  std::string input_;
  net::FdWatcher watcher_;
};

class Console {
 public:
  Console(net::Loop& loop, Fd listener, const log::Filter& filter)
      : loop_(loop),
        filter_(filter),
        listener_(loop, std::move(listener), [this](Fd connection, const sockaddr_storage&) {
          accept(std::move(connection));
        }) {}

 private:
  void accept(Fd socket) {
    if (clients_.size() >= kMaxClients)
      return;
    auto& place = clients_.emplace_back();
    const auto self = std::prev(clients_.end());
    place = std::make_unique<Client>(loop_, std::move(socket), filter_,
                                     [this, self] { clients_.erase(self); });
  }

  net::Loop& loop_;
  const log::Filter& filter_;
  std::list<std::unique_ptr<Client>> clients_;
  net::Listener listener_;
};

Status run(const net::Endpoint& endpoint, const log::Filter& filter) {
  net::Loop loop;
  bool is_over = false;
  const net::EndingSignals signals(loop, [&](int) {
    is_over = true;
    loop.stop();
  });
  MIRRORD_TRY(listener,
              net::listen_tcp(endpoint, kBacklog, "Choose another address with --address."));
  const std::string address = net::local_endpoint(listener.get()).value_or(endpoint).to_string();
  const Console console(loop, std::move(listener), filter);
  print("mirrord: log lines of sessions that start with MIRRORD_CONSOLE_ADDR=" + address +
        "; Ctrl+C ends it");
  while (!is_over)
    loop.run();
  return {};
}

}  // namespace

std::vector<Command> console_commands() {
  return {{
      .name = "console",
      .purpose = "Shows the log lines of all parts of sessions as they come: of the command, the "
                 "intproxy, the agent and the programs. Runs until it is interrupted (Ctrl+C).",
      .usages = {"[FLAGS]"},
      .flags = {{"Flags", kFlags}},
      .examples = {{"mirrord console", ""},
                   {"MIRRORD_CONSOLE_ADDR=127.0.0.1:11233 mirrord exec -t pod/shop -- ./server",
                    "in another terminal"}},
      .notes = "Sessions send everything unless MIRRORD_LOG, in their environment, wants less.",
  }};
}

int console_main(int argc, char** argv) {
  const Command command = console_commands().front();
  const auto line = read_command_line(command, argc, argv, report_error);
  if (!line)
    return line.error();
  const std::string* address = line->last("address");
  const std::string text(address == nullptr ? kDefaultAddress : std::string_view(*address));
  const auto endpoint = net::Endpoint::parse(text);
  if (!endpoint)
    return report_error(
        usage_error(command, "--address: \"" + text + "\" is not ADDRESS:PORT").error());
  const std::string* filter = line->last("filter");
  const Status done = run(
      *endpoint, filter == nullptr ? log::Filter(log::Level::kTrace) : log::Filter::parse(*filter));
  return done ? 0 : report_error(done.error());
}

}  // namespace mirrord
