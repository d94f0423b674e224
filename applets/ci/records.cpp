// applets/ci/records.cpp — the records as JSON files.
#include "applets/ci/records.h"

#include <stdio.h>
#include <unistd.h>

#include <charconv>
#include <string_view>

#include "applets/config/load.h"
#include "applets/json_text.h"
#include "applets/private_directory.h"
#include "k8s/json.h"
#include "net/file.h"

namespace mirrord::ci {
namespace {

constexpr std::size_t kLargestRecord = 64 << 10;
constexpr std::size_t kLargestStat = 4096;
constexpr std::string_view kEnd = ".json";

std::string process_json(const KnownProcess& process) {
  return "{\"pid\":" + std::to_string(process.pid) +
         ",\"started\":" + std::to_string(process.started) + "}";
}

KnownProcess process_of(k8s::JsonView json) {
  return {static_cast<pid_t>(json["pid"].number()),
          static_cast<std::uint64_t>(json["started"].number())};
}

struct ProcessState {
  char letter = 0;  // 0: there is none
  std::uint64_t started = 0;
};

ProcessState state_of(pid_t pid) {
  const auto text = net::read_file("/proc/" + std::to_string(pid) + "/stat", kLargestStat);
  ProcessState state;
  if (!text)
    return state;
  // After the program's name, which may hold anything: state is field 3, the start field 22.
  std::string_view rest(*text);
  rest.remove_prefix(rest.rfind(')') + 1);
  for (int field = 3; field <= 22 && !rest.empty(); ++field) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const std::string_view word = rest.substr(0, rest.find_first_of(" \n"));
    if (field == 3 && !word.empty())
      state.letter = word[0];
    if (field == 22)
      std::from_chars(word.data(), word.data() + word.size(), state.started);
    rest.remove_prefix(word.size());
  }
  return state;
}

}  // namespace

KnownProcess known_process(pid_t pid) {
  return {pid, state_of(pid).started};
}

bool KnownProcess::is_running() const {
  if (pid <= 0)
    return false;
  const ProcessState state = state_of(pid);
  return state.letter != 0 && state.letter != 'Z' && state.letter != 'X' &&
         state.started == started;
}

std::string boot_id() {
  std::string text =
      net::read_file("/proc/sys/kernel/random/boot_id", kLargestStat).value_or("unknown");
  while (text.ends_with('\n'))
    text.pop_back();
  return text;
}

Result<std::string> records_directory() {
  std::string parent = config::process_environment("TMPDIR").value_or("/tmp");
  if (!parent.starts_with('/'))
    parent = "/tmp";
  parent += "/mirrord-" + std::to_string(geteuid());
  MIRRORD_CHECK_STATUS(make_private_directory(parent));
  MIRRORD_CHECK_STATUS(make_private_directory(parent + "/ci"));
  return parent + "/ci";
}

Status write_record(const Record& record) {
  MIRRORD_TRY(directory, records_directory());
  std::string text = "{\"program\":" + json_quoted(record.program) +
                     ",\"directory\":" + json_quoted(record.directory) +
                     ",\"boot\":" + json_quoted(record.boot) +
                     ",\"process\":" + process_json(record.process) +
                     ",\"supervisor\":" + process_json(record.supervisor);
  if (record.exit_status)
    text += ",\"exit_status\":" + std::to_string(*record.exit_status);
  const std::string path = directory + "/" + record.id + std::string(kEnd);
  MIRRORD_CHECK_STATUS(net::write_private_file(path + ".new", text + "}\n"));
  if (rename((path + ".new").c_str(), path.c_str()) != 0)
    return fail_system("write " + path, errno);
  return {};
}

Result<Record> read_record(const std::string& id) {
  MIRRORD_TRY(directory, records_directory());
  const std::string path = directory + "/" + id + std::string(kEnd);
  MIRRORD_TRY(text, net::read_file(path, kLargestRecord));
  auto json = k8s::Json::parse(text, path);
  if (!json || !(*json)["process"].is_object())
    return fail(ErrorCode::kConfig, "read " + path + ": it is no record of `mirrord ci start`",
                "What it stood for cannot be stopped; look for it, then remove the file.");
  const k8s::JsonView view = json->view();
  Record record{.id = id,
                .program = std::string(view["program"].text()),
                .directory = std::string(view["directory"].text()),
                .boot = std::string(view["boot"].text()),
                .process = process_of(view["process"]),
                .supervisor = process_of(view["supervisor"]),
                .exit_status = {}};
  if (view["exit_status"].is_present())
    record.exit_status = static_cast<int>(view["exit_status"].number());
  return record;
}

Result<std::vector<Record>> read_records() {
  MIRRORD_TRY(directory, records_directory());
  std::vector<Record> records;
  for (const std::string& path : net::files_in(directory)) {
    const std::string name = path.substr(path.rfind('/') + 1);
    if (!name.ends_with(kEnd))
      continue;
    MIRRORD_TRY(record, read_record(name.substr(0, name.size() - kEnd.size())));
    records.push_back(std::move(record));
  }
  return records;
}

void remove_record(const std::string& id) {
  if (const auto directory = records_directory())
    unlink((*directory + "/" + id + std::string(kEnd)).c_str());
}

}  // namespace mirrord::ci
