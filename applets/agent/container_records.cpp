// applets/agent/container_records.cpp — reads the state files of each runtime.
#include "applets/agent/container_records.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>
#include <string_view>

#include "net/fd.h"

namespace mirrord::agent {
namespace {

constexpr std::size_t kMaxStateFile = 16 << 20;

using Json = std::unique_ptr<cJSON, decltype(&cJSON_Delete)>;

class Reader {
 public:
  explicit Reader(ContainerRecords& found) : found_(found) {}

  // The names in a folder; none when it does not exist.
  std::vector<std::string> list(const std::string& folder) {
    std::vector<std::string> names;
    DIR* stream = ::opendir(folder.c_str());
    if (stream == nullptr) {
      note_refusal();
      return names;
    }
    while (const dirent* entry = ::readdir(stream)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..")
        names.emplace_back(name);
    }
    ::closedir(stream);
    std::ranges::sort(names);
    return names;
  }

  std::string read(const std::string& path) {
    std::string content;
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd) {
      note_refusal();
      return content;
    }
    char buffer[16384];
    ssize_t count = 0;
    while (content.size() < kMaxStateFile && (count = ::read(fd.get(), buffer, sizeof buffer)) > 0)
      content.append(buffer, static_cast<std::size_t>(count));
    return content;
  }

  // A null pointer when there is no such file or it holds no JSON.
  Json json(const std::string& path) {
    const std::string text = read(path);
    return {cJSON_ParseWithLength(text.data(), text.size()), &cJSON_Delete};
  }

  pid_t pid(const std::string& path) { return parse_pid(read(path)); }

  static pid_t parse_pid(std::string_view text) {
    pid_t pid = 0;
    std::from_chars(text.data(), text.data() + text.size(), pid);
    return std::max(pid, 0);
  }

  void add(ContainerRecord record) { found_.records.push_back(std::move(record)); }

 private:
  void note_refusal() { found_.was_refused = found_.was_refused || errno == EACCES; }

  ContainerRecords& found_;
};

const cJSON* member(const cJSON* object, const char* name) {
  return cJSON_GetObjectItemCaseSensitive(object, name);
}

std::string text(const cJSON* object, const char* name) {
  const char* value = cJSON_GetStringValue(member(object, name));
  return value == nullptr ? std::string() : std::string(value);
}

pid_t number(const cJSON* object, const char* name) {
  const cJSON* value = member(object, name);
  return cJSON_IsNumber(value) ? std::max(value->valueint, 0) : 0;
}

std::vector<std::string> texts(const cJSON* array) {
  std::vector<std::string> result;
  const cJSON* item = nullptr;
  cJSON_ArrayForEach(item, array) {
    if (const char* value = cJSON_GetStringValue(item))
      result.emplace_back(value);
  }
  return result;
}

// The environment in an OCI runtime configuration.
std::vector<std::string> oci_environment(const cJSON* config) {
  return texts(member(member(config, "process"), "env"));
}

// Names that Kubernetes, CRI-O and nerdctl leave as annotations in the OCI configuration.
std::vector<std::string> annotated_names(const cJSON* config) {
  const cJSON* annotations = member(config, "annotations");
  std::vector<std::string> names;
  if (std::string name = text(annotations, "nerdctl/name"); !name.empty())
    names.push_back(std::move(name));
  struct Keys {
    const char* container;
    const char* pod;
    const char* space;
  };
  constexpr Keys kKeys[] = {
      {"io.kubernetes.cri.container-name", "io.kubernetes.cri.sandbox-name",
       "io.kubernetes.cri.sandbox-namespace"},
      {"io.kubernetes.container.name", "io.kubernetes.pod.name", "io.kubernetes.pod.namespace"},
  };
  for (const Keys& keys : kKeys) {
    const std::string container = text(annotations, keys.container);
    const std::string pod = text(annotations, keys.pod);
    const std::string space = text(annotations, keys.space);
    if (container.empty() || container == "POD")
      continue;
    names.push_back(container);
    if (!pod.empty())
      names.push_back(pod + "/" + container);
    if (!pod.empty() && !space.empty())
      names.push_back(space + "/" + pod + "/" + container);
  }
  return names;
}

void read_docker(Reader& reader, const std::string& root) {
  const std::string folder = root + "/var/lib/docker/containers";
  for (const std::string& id : reader.list(folder)) {
    const Json config = reader.json(folder + "/" + id + "/config.v2.json");
    if (!config)
      continue;
    std::string name = text(config.get(), "Name");
    if (name.starts_with('/'))
      name.erase(0, 1);
    const cJSON* state = member(config.get(), "State");
    const bool is_running = cJSON_IsTrue(member(state, "Running")) != 0;
    reader.add({id,
                {std::move(name)},
                "docker",
                is_running ? number(state, "Pid") : 0,
                texts(member(member(config.get(), "Config"), "Env"))});
  }
}

// Of one storage driver: one list of containers, one folder for each.
void read_storage_of(Reader& reader, const std::string& driver, const std::string& storage,
                     const std::string& run_root) {
  const std::string folder = storage + "/" + driver + "-containers";
  const std::string run_folder = run_root + "/" + driver + "-containers";
  for (const std::string& path :
       {folder + "/containers.json", run_folder + "/volatile-containers.json"}) {
    const Json containers = reader.json(path);
    const cJSON* container = nullptr;
    cJSON_ArrayForEach(container, containers.get()) {
      const std::string id = text(container, "id");
      if (id.empty())
        continue;
      const Json config = reader.json(folder + "/" + id + "/userdata/config.json");
      std::vector<std::string> names = texts(member(container, "names"));
      std::ranges::move(annotated_names(config.get()), std::back_inserter(names));
      reader.add({id, std::move(names), "podman",
                  reader.pid(run_folder + "/" + id + "/userdata/pidfile"),
                  oci_environment(config.get())});
    }
  }
}

// The storage that Podman and CRI-O share (containers-storage.conf(5)).
void read_storage(Reader& reader, const std::string& storage, const std::string& run_root) {
  for (const char* driver : {"overlay", "vfs", "btrfs", "zfs"})
    read_storage_of(reader, driver, storage, run_root);
}

void read_podman(Reader& reader, const std::string& root) {
  read_storage(reader, root + "/var/lib/containers/storage", root + "/run/containers/storage");
  // Containers of ordinary users: storage in their homes, state in their runtime folders.
  std::vector<std::string> run_roots;
  for (const std::string& user : reader.list(root + "/run/user"))
    run_roots.push_back(root + "/run/user/" + user + "/containers");
  std::vector<std::string> homes;
  for (const std::string& user : reader.list(root + "/home"))
    homes.push_back(root + "/home/" + user);
  for (const std::string& home : homes) {
    for (const std::string& run_root : run_roots)
      read_storage(reader, home + "/.local/share/containers/storage", run_root);
  }
}

void read_containerd(Reader& reader, const std::string& root) {
  for (const char* state : {"/run/containerd", "/run/k3s/containerd", "/run/k0s/containerd",
                            "/var/snap/microk8s/common/run/containerd"}) {
    const std::string tasks = root + state + "/io.containerd.runtime.v2.task";
    for (const std::string& space : reader.list(tasks)) {
      for (const std::string& id : reader.list(tasks + "/" + space)) {
        const std::string folder = tasks + "/" + space + "/" + id;
        const Json config = reader.json(folder + "/config.json");
        reader.add({id, annotated_names(config.get()), "containerd",
                    reader.pid(folder + "/init.pid"), oci_environment(config.get())});
      }
    }
  }
  // nerdctl keeps a file per name, with the id in it.
  const std::string nerdctl = root + "/var/lib/nerdctl";
  for (const std::string& address : reader.list(nerdctl)) {
    const std::string names = nerdctl + "/" + address + "/names";
    for (const std::string& space : reader.list(names)) {
      for (const std::string& name : reader.list(names + "/" + space)) {
        std::string id = reader.read(names + "/" + space + "/" + name);
        while (!id.empty() && (id.back() == '\n' || id.back() == ' '))
          id.pop_back();
        if (!id.empty())
          reader.add({std::move(id), {name}, "containerd", 0, {}});
      }
    }
  }
}

void read_runc(Reader& reader, const std::string& root) {
  std::vector<std::string> folders{root + "/run/runc", root + "/run/docker/runtime-runc/moby"};
  for (const std::string& space : reader.list(root + "/run/containerd/runc"))
    folders.push_back(root + "/run/containerd/runc/" + space);
  for (const std::string& user : reader.list(root + "/run/user"))
    folders.push_back(root + "/run/user/" + user + "/runc");
  for (const std::string& folder : folders) {
    for (const std::string& id : reader.list(folder)) {
      const Json state = reader.json(folder + "/" + id + "/state.json");
      if (state)
        reader.add({id, {id}, "runc", number(state.get(), "init_process_pid"), {}});
    }
  }
}

void read_crun(Reader& reader, const std::string& root) {
  std::vector<std::string> folders{root + "/run/crun"};
  for (const std::string& user : reader.list(root + "/run/user"))
    folders.push_back(root + "/run/user/" + user + "/crun");
  for (const std::string& folder : folders) {
    for (const std::string& id : reader.list(folder)) {
      const Json status = reader.json(folder + "/" + id + "/status");
      if (!status)
        continue;
      const Json config = reader.json(text(status.get(), "bundle") + "/config.json");
      reader.add({id, {id}, "crun", number(status.get(), "pid"), oci_environment(config.get())});
    }
  }
}

void read_nspawn(Reader& reader, const std::string& root) {
  const std::string folder = root + "/run/systemd/machines";
  for (const std::string& name : reader.list(folder)) {
    const std::string content = reader.read(folder + "/" + name);
    constexpr std::string_view kKey = "\nLEADER=";
    const std::size_t at = content.find(kKey);
    if (at != std::string::npos) {
      reader.add({name,
                  {name},
                  "systemd-nspawn",
                  Reader::parse_pid(std::string_view(content).substr(at + kKey.size())),
                  {}});
    }
  }
}

using RuntimeReader = void (*)(Reader& reader, const std::string& root);
constexpr RuntimeReader kRuntimes[] = {
    read_docker, read_podman, read_containerd, read_runc, read_crun, read_nspawn,
};

}  // namespace

ContainerRecords read_container_records(const HostView& host) {
  ContainerRecords found;
  Reader reader(found);
  for (const std::string& root : host.roots) {
    for (const RuntimeReader runtime : kRuntimes)
      runtime(reader, root);
  }
  return found;
}

}  // namespace mirrord::agent
