// applets/doctor.h — the checks of `mirrord doctor` and how their results are told.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "applets/config/config.h"
#include "net/error.h"

namespace mirrord {

enum class CheckState { kOk, kFailed, kWarning, kSkipped };

struct Check {
  std::string name;
  CheckState state = CheckState::kOk;
  std::string detail;
  std::string hint;  // what to do; of kFailed and kWarning
};

// Tells each result when it is there: as a line, or at the end as one JSON object.
class DoctorReport {
 public:
  explicit DoctorReport(bool is_json) : is_json_(is_json) {}

  void add(Check check);
  void ok(std::string name, std::string detail) {
    add({std::move(name), CheckState::kOk, std::move(detail), {}});
  }
  void failed(std::string name, const Error& error) {
    add({std::move(name), CheckState::kFailed, error.what, error.hint});
  }
  void finish() const;  // the JSON, or the sum in one line
  [[nodiscard]] bool has_failed() const;
  [[nodiscard]] const std::vector<Check>& checks() const { return checks_; }

 private:
  bool is_json_;
  std::vector<Check> checks_;
};

// doctor_checks.cpp: this machine. `runs_agent_here`: the agent of the target is started here.
void check_client(DoctorReport& report);
void check_kernel(DoctorReport& report, bool runs_agent_here, bool is_demo);

// doctor_cluster.cpp: the way to the API server, and what it allows.
void check_cluster(DoctorReport& report, const config::ResolvedConfig& config);

// One right that a session needs.
struct Permission {
  std::string_view verb, group, resource, subresource;
  bool is_target_name_space = false;  // else that of the agent
  bool is_required = true;
  std::string_view purpose;
};
// All that the configuration's target and kind of agent need; what only makes messages better is
// not required.
std::vector<Permission> permissions_needed(const config::ResolvedConfig& config);

}  // namespace mirrord
