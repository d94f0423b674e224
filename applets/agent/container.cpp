// applets/agent/container.cpp — from a name or id to the container's first process.
#include "applets/agent/container.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "applets/agent/container_records.h"
#include "net/fd.h"

namespace mirrord::agent {
namespace {

constexpr std::size_t kShortestIdStart = 4;
constexpr std::size_t kIdLength = 64;
constexpr std::string_view kLxcGroup = "lxc.payload.";  // followed by the container's name

std::string read_small(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string content(16384, '\0');
  const ssize_t size = fd ? ::read(fd.get(), content.data(), content.size()) : 0;
  content.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  return content;
}

struct ProcessFacts {
  pid_t parent = 0;
  std::uint64_t start_time = 0;
};

// From /proc/PID/stat: fields 3, 4 and 22, counted behind the name, which may hold anything. Nothing
// for a process that has ended, be its parent still to be told or not.
std::optional<ProcessFacts> facts_of(const HostView& host, pid_t pid) {
  const std::string stat = read_small(host.proc + "/" + std::to_string(pid) + "/stat");
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos)
    return std::nullopt;
  std::string_view rest = std::string_view(stat).substr(name_end + 1);
  ProcessFacts facts;
  for (int field = 3; field <= 22 && !rest.empty(); ++field) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const std::string_view word = rest.substr(0, rest.find(' '));
    if (field == 3 && (word == "Z" || word == "X"))
      return std::nullopt;
    if (field == 4)
      std::from_chars(word.data(), word.data() + word.size(), facts.parent);
    else if (field == 22)
      std::from_chars(word.data(), word.data() + word.size(), facts.start_time);
    rest.remove_prefix(word.size());
  }
  return facts;
}

// What may be a container's id in the control groups of a process: "docker-ID.scope", "libpod-ID",
// "cri-containerd-ID.scope", ".../ID", and each part as it stands. Monitors of containers are no
// part of them.
std::set<std::string> ids_in_cgroup(std::string_view cgroup) {
  std::set<std::string> ids;
  constexpr std::string_view kHex = "0123456789abcdef";
  while (!cgroup.empty()) {
    const std::size_t end = cgroup.find_first_of("/\n");
    const std::string_view part = cgroup.substr(0, end);
    cgroup.remove_prefix(end == std::string_view::npos ? cgroup.size() : end + 1);
    if (part.find("conmon-") != std::string_view::npos)
      continue;
    for (std::size_t at = 0; at < part.size();) {
      const std::size_t begin = part.find_first_of(kHex, at);
      if (begin == std::string_view::npos)
        break;
      const std::size_t stop = std::min(part.find_first_not_of(kHex, begin), part.size());
      if (stop - begin == kIdLength)
        ids.emplace(part.substr(begin, stop - begin));
      at = stop;
    }
    // Short ids and names, as runc and crun allow them.
    std::string_view plain = part.substr(0, part.rfind(".scope"));
    plain.remove_prefix(std::min(plain.rfind('-') + 1, plain.size()));
    if (!plain.empty())
      ids.emplace(plain);
    ids.emplace(part);
  }
  return ids;
}

std::vector<pid_t> all_processes(const HostView& host) {
  std::vector<pid_t> pids;
  DIR* proc = ::opendir(host.proc.c_str());
  if (proc == nullptr)
    return pids;
  while (const dirent* entry = ::readdir(proc)) {
    const std::string_view name = entry->d_name;
    pid_t pid = 0;
    const auto [stopped, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc{} && stopped == name.data() + name.size())
      pids.push_back(pid);
  }
  ::closedir(proc);
  return pids;
}

// Which containers have processes, and which processes.
std::map<std::string, std::vector<pid_t>> processes_by_id(const HostView& host) {
  std::map<std::string, std::vector<pid_t>> result;
  for (const pid_t pid : all_processes(host)) {
    const std::string cgroup = read_small(host.proc + "/" + std::to_string(pid) + "/cgroup");
    for (const std::string& id : ids_in_cgroup(cgroup))
      result[id].push_back(pid);
  }
  return result;
}

// The one that the runtime started: its parent is outside, and no other such process is older.
pid_t first_process(const HostView& host, const std::vector<pid_t>& pids) {
  pid_t first = 0;
  std::uint64_t oldest = UINT64_MAX;
  for (const pid_t pid : pids) {
    const auto facts = facts_of(host, pid);
    const bool is_inner = facts && std::ranges::find(pids, facts->parent) != pids.end();
    if (facts && !is_inner && facts->start_time < oldest) {
      first = pid;
      oldest = facts->start_time;
    }
  }
  return first;
}

bool is_id(std::string_view text) {
  return text.size() >= kShortestIdStart &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// All that is known of one container, put together from its records.
FoundContainer merge(const std::string& id, const std::vector<ContainerRecord>& records) {
  FoundContainer container;
  container.id = id;
  for (const ContainerRecord& record : records) {
    if (record.id != id)
      continue;
    if (container.runtime.empty())
      container.runtime = record.runtime;
    if (container.name.empty() && !record.names.empty())
      container.name = record.names.front();
    if (container.pid == 0)
      container.pid = record.pid;
    if (container.environment.empty())
      container.environment = record.environment;
  }
  return container;
}

std::string list_of(const std::set<std::string>& names) {
  constexpr std::size_t kMost = 10;
  std::string text;
  std::size_t count = 0;
  for (const std::string& name : names) {
    if (count++ == kMost)
      return text + ", …";
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

std::unexpected<Error> not_found(const std::string& wanted, const ContainerRecords& known,
                                 const HostView& host) {
  std::set<std::string> names;
  for (const ContainerRecord& record : known.records) {
    const FoundContainer whole = merge(record.id, known.records);
    if (whole.pid != 0 && facts_of(host, whole.pid))
      names.insert(whole.name.empty() ? whole.id.substr(0, 12) : whole.name);
  }
  std::string hint;
  if (!names.empty())
    hint = "Running here: " + list_of(names) + ".";
  else if (known.was_refused)
    hint =
        "The state of container runtimes may be read by root only: run with sudo, or give the "
        "container's id.";
  else
    hint = "Give a running container's name or id, or a PID with process/PID.";
  return fail(ErrorCode::kNotFound, "there is no running container '" + wanted + "' here",
              std::move(hint));
}

// The ids that `wanted` may mean: by name if there is one, else by id or its start.
std::set<std::string> matching_ids(const std::string& wanted, const ContainerRecords& known,
                                   const std::map<std::string, std::vector<pid_t>>& running) {
  std::set<std::string> ids;
  for (const ContainerRecord& record : known.records) {
    if (std::ranges::find(record.names, wanted) != record.names.end())
      ids.insert(record.id);
  }
  if (!ids.empty())
    return ids;
  const bool may_be_start = is_id(wanted);
  for (const ContainerRecord& record : known.records) {
    if (record.id == wanted || (may_be_start && record.id.starts_with(wanted)))
      ids.insert(record.id);
  }
  // Without a record, only what cannot be anything but a container.
  for (const auto& [id, pids] : running) {
    if (may_be_start && id.size() == kIdLength && is_id(id) && id.starts_with(wanted))
      ids.insert(id);
  }
  const std::string lxc = std::string(kLxcGroup) + wanted;
  if (ids.empty() && running.contains(lxc))
    ids.insert(lxc);
  return ids;
}

}  // namespace

pid_t find_by_cgroup(const std::string& id, const HostView& host) {
  const auto running = processes_by_id(host);
  const auto found = running.find(id);
  return found == running.end() ? 0 : first_process(host, found->second);
}

Result<FoundContainer> find_container(const std::string& name_or_id, const HostView& host) {
  const ContainerRecords known = read_container_records(host);
  const auto running = processes_by_id(host);
  std::vector<FoundContainer> found;
  bool has_stopped = false;
  for (const std::string& id : matching_ids(name_or_id, known, running)) {
    FoundContainer container = merge(id, known.records);
    if (container.name.empty() && id.starts_with(kLxcGroup))
      container.name = id.substr(kLxcGroup.size());
    // A PID on record may be stale; that processes are in the group is certain.
    const auto processes = running.find(id);
    if (processes != running.end()) {
      const pid_t first = first_process(host, processes->second);
      const bool is_member =
          std::ranges::find(processes->second, container.pid) != processes->second.end();
      if (!is_member)
        container.pid = first;
    }
    if (container.pid != 0 && facts_of(host, container.pid))
      found.push_back(std::move(container));
    else
      has_stopped = true;
  }
  if (found.size() == 1)
    return std::move(found.front());
  if (found.size() > 1) {
    std::set<std::string> ids;
    for (const FoundContainer& container : found)
      ids.insert(container.id.substr(0, 12));
    return fail(ErrorCode::kNotFound, "'" + name_or_id + "' means more than one container",
                "Give the id of one of them: " + list_of(ids) + ".");
  }
  if (has_stopped) {
    return fail(ErrorCode::kNotFound, "container '" + name_or_id + "' is not running",
                "Start it first.");
  }
  return not_found(name_or_id, known, host);
}

}  // namespace mirrord::agent
