// applets/intproxy/request_log.cpp — the names of the hook's messages, and what is told of each.
#include "applets/intproxy/request_log.h"

#include <netdb.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "applets/intproxy/address.h"
#include "net/error.h"

namespace mirrord::intproxy {
namespace {

using local::MessageType;
using log::Component;

enum class Shows : std::uint8_t { kNothing, kOpened, kPaths, kName, kRemote, kListener };

struct Row {
  MessageType type;
  Component component;
  std::string_view name;
  Shows shows = Shows::kNothing;
};

// clang-format off
constexpr std::array kRows = {
    Row{MessageType::kOpen, Component::kFiles, "open", Shows::kOpened},
    Row{MessageType::kClose, Component::kFiles, "close"},
    Row{MessageType::kFetch, Component::kFiles, "fetch"},
    Row{MessageType::kFetchAll, Component::kFiles, "fetch all"},
    Row{MessageType::kRead, Component::kFiles, "read"},
    Row{MessageType::kWrite, Component::kFiles, "write"},
    Row{MessageType::kSeek, Component::kFiles, "seek"},
    Row{MessageType::kSync, Component::kFiles, "sync"},
    Row{MessageType::kTruncate, Component::kFiles, "truncate"},
    Row{MessageType::kStatHandle, Component::kFiles, "stat of an open file"},
    Row{MessageType::kStatFsHandle, Component::kFiles, "statfs of an open file"},
    Row{MessageType::kSetMode, Component::kFiles, "chmod of an open file"},
    Row{MessageType::kSetOwner, Component::kFiles, "chown of an open file"},
    Row{MessageType::kSetTimes, Component::kFiles, "utime of an open file"},
    Row{MessageType::kList, Component::kFiles, "list"},
    Row{MessageType::kStat, Component::kFiles, "stat", Shows::kPaths},
    Row{MessageType::kAccess, Component::kFiles, "access", Shows::kPaths},
    Row{MessageType::kReadLink, Component::kFiles, "readlink", Shows::kPaths},
    Row{MessageType::kMakeDir, Component::kFiles, "mkdir", Shows::kPaths},
    Row{MessageType::kUnlink, Component::kFiles, "unlink", Shows::kPaths},
    Row{MessageType::kRename, Component::kFiles, "rename", Shows::kPaths},
    Row{MessageType::kStatFs, Component::kFiles, "statfs", Shows::kPaths},
    Row{MessageType::kTruncatePath, Component::kFiles, "truncate", Shows::kPaths},
    Row{MessageType::kSetModePath, Component::kFiles, "chmod", Shows::kPaths},
    Row{MessageType::kSetOwnerPath, Component::kFiles, "chown", Shows::kPaths},
    Row{MessageType::kSetTimesPath, Component::kFiles, "utime", Shows::kPaths},
    Row{MessageType::kMapPath, Component::kFiles, "map", Shows::kPaths},
    Row{MessageType::kResolve, Component::kDns, "resolve", Shows::kName},
    Row{MessageType::kReverseResolve, Component::kDns, "name of an address"},
    Row{MessageType::kQuery, Component::kDns, "query"},
    Row{MessageType::kHostName, Component::kDns, "host name"},
    Row{MessageType::kConnect, Component::kOutgoing, "connect to", Shows::kRemote},
    Row{MessageType::kConnectOutcome, Component::kOutgoing, "outcome of a connect"},
    Row{MessageType::kListen, Component::kIncoming, "listen on", Shows::kListener},
    Row{MessageType::kCheckListeners, Component::kIncoming, "check of listeners"},
};
// clang-format on

std::string address_text(const local::Address& address) {
  if (const auto endpoint = endpoint_of(address))
    return endpoint->to_string();
  const std::size_t length = std::min<std::size_t>(address.length, sizeof address.data);
  return address.family == AF_UNIX
             ? std::string(reinterpret_cast<const char*>(address.data), length)
             : "an address of family " + std::to_string(address.family);
}

std::string paths_text(const Request& request) {
  const auto fixed = request.fixed<local::PathRequest>();
  if (!fixed)
    return {};
  const std::string_view both = request.text<local::PathRequest>();
  const std::size_t first = std::min<std::size_t>(fixed->first_length, both.size());
  std::string text(both.substr(0, first));
  if (first < both.size())
    text += " to " + std::string(both.substr(first));
  return text;
}

std::string shown(const Request& request, Shows shows) {
  switch (shows) {
    case Shows::kNothing:
      return {};
    case Shows::kOpened:
      return std::string(request.text<local::OpenRequest>());
    case Shows::kPaths:
      return paths_text(request);
    case Shows::kName:
      return std::string(request.text<local::ResolveRequest>());
    case Shows::kRemote: {
      const auto fixed = request.fixed<local::ConnectRequest>();
      return fixed ? address_text(fixed->remote) : std::string();
    }
    case Shows::kListener: {
      const auto fixed = request.fixed<local::ListenRequest>();
      return fixed ? address_text(fixed->requested) : std::string();
    }
  }
  return {};
}

}  // namespace

std::optional<RequestNote> note_of(const Process& process, const Request& request) {
  const auto row = std::ranges::find(kRows, request.type, &Row::type);
  if (row == kRows.end())
    return std::nullopt;
  RequestNote note;
  note.component = row->component;
  note.level = row->shows == Shows::kNothing ? log::Level::kTrace : log::Level::kDebug;
  note.text = process.name + "[" + std::to_string(process.pid) + "] " + std::string(row->name);
  if (const std::string what = shown(request, row->shows); !what.empty())
    note.text += " " + what;
  return note;
}

std::string outcome_text(MessageType type, int error, std::span<const std::byte> fixed) {
  if (error != 0 && type == MessageType::kResolve)
    return ::gai_strerror(error);
  if (error != 0)
    return std::strerror(error);
  if (type == MessageType::kConnect && fixed.size() >= sizeof(local::ConnectReply)) {
    local::ConnectReply reply;
    std::memcpy(&reply, fixed.data(), sizeof reply);
    return reply.state == local::ConnectState::kBypass    ? "local"
           : reply.state == local::ConnectState::kPending ? "remote, under way"
                                                          : "remote";
  }
  return "ok";
}

}  // namespace mirrord::intproxy
