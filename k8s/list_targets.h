// k8s/list_targets.h — the targets that a namespace offers, and the namespaces there are.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "k8s/api_client.h"
#include "k8s/target_path.h"
#include "net/error.h"

namespace mirrord::k8s {

struct ListRequest {
  std::string name_space;         // empty: the context's
  std::vector<TargetKind> kinds;  // in this order; workloads and pods only
  bool wants_unready = false;     // also pods and deployments that nothing could be done with now
  bool wants_namespaces = false;
};

struct TargetList {
  std::vector<std::string> targets;     // canonical texts, in the order of the kinds
  std::vector<std::string> namespaces;  // sorted; empty unless asked for
  std::vector<Error> failures;          // parts that could not be listed
};

// Reads pages of 500, of at most three kinds at a time, and keeps only names: memory does not grow
// with the size of the objects. A kind that the cluster does not know has no targets. An error only
// when pods, or all that was asked for, cannot be listed.
Result<TargetList> list_targets(ApiClient& client, const ListRequest& request);

// The targets of one object of a list; none when it is not fit. Needs no server.
std::vector<std::string> targets_of_object(TargetKind kind, JsonView object, bool wants_unready);

}  // namespace mirrord::k8s
