// tests/fuzz/kubeconfig_fuzz.cpp — any bytes as a kubeconfig, and so as YAML: values, places, merging.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "k8s/exec_credential.h"
#include "k8s/kubeconfig.h"
#include "net/yaml.h"

using namespace mirrord;

namespace {

void check_places(const net::YamlNode& node, std::size_t size) {
  if (node.offset > size) {
    std::abort();
  }
  for (const net::YamlNode& item : node.items) {
    check_places(item, size);
  }
  for (const net::YamlNode::Member& member : node.members) {
    check_places(member.value, size);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  if (const auto text = net::to_utf8(bytes, "fuzz")) {
    if (const auto documents = net::parse_yaml(*text, "fuzz")) {
      for (const net::YamlNode& document : *documents) {
        check_places(document, text->size());
      }
    }
  }
  k8s::Kubeconfig config;
  const Status merged = k8s::merge_kubeconfig(config, bytes, "fuzz");
  if (!merged && merged.error().what.empty()) {
    std::abort();
  }
  for (const k8s::KubeEntry& user : config.users) {
    static_cast<void>(k8s::parse_exec_plugin(user.body["exec"], user.name, user.folder));
  }
  return 0;
}
