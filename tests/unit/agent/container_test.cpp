// tests/unit/agent/container_test.cpp — container look-up in fixture trees of each runtime's state.
#include "applets/agent/container.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/support/child_process.h"

namespace mirrord::agent {
namespace {

using test::write_file;

const std::string kWeb = "a1b2c3d4" + std::string(56, '1');
const std::string kApi = "a1b2ffff" + std::string(56, '2');

class Containers : public testing::Test {
 protected:
  Containers() : host_{folder_ / "proc", {folder_ / "root"}} {
    add_process(1, 0, 1, "0::/init.scope\n");
    add_process(500, 1, 50, "0::/system.slice/docker.service\n");
  }
  void add_process(int pid, int parent, int start_time, const std::string& cgroup,
                   const char* state = "S") {
    const std::string process = folder_ / ("proc/" + std::to_string(pid));
    std::string stat = std::to_string(pid) + " (a b) c) " + state + " " + std::to_string(parent);
    for (int field = 5; field < 22; ++field)
      stat += " 0";
    write_file(process + "/stat", stat + " " + std::to_string(start_time) + " 0 0\n");
    write_file(process + "/cgroup", cgroup);
  }
  void write_state(const std::string& path, const std::string& text) {
    write_file(folder_ / ("root/" + path), text);
  }
  pid_t pid_of(const std::string& wanted) {
    const auto found = find_container(wanted, host_);
    return found ? found->pid : -1;
  }
  Error error_of(const std::string& wanted) {
    const auto found = find_container(wanted, host_);
    EXPECT_FALSE(found);
    return found ? Error{} : found.error();
  }

  test::TempFolder folder_;
  HostView host_;
};

TEST_F(Containers, DockerByNameIdAndStartOfId) {
  write_state("var/lib/docker/containers/" + kWeb + "/config.v2.json",
              R"({"ID":")" + kWeb +
                  R"(","Name":"/web","State":{"Running":true,"Pid":700},)"
                  R"("Config":{"Env":["MODE=prod","EMPTY="]}})");
  add_process(700, 500, 60, "0::/system.slice/docker-" + kWeb + ".scope\n");
  add_process(701, 700, 61, "0::/system.slice/docker-" + kWeb + ".scope\n");
  for (const std::string& wanted : {std::string("web"), kWeb, kWeb.substr(0, 8)}) {
    const auto found = find_container(wanted, host_);
    ASSERT_TRUE(found) << wanted << ": " << found.error().what;
    EXPECT_EQ(found->pid, 700);
    EXPECT_EQ(found->name, "web");
    EXPECT_EQ(found->runtime, "docker");
    EXPECT_EQ(found->environment, (std::vector<std::string>{"MODE=prod", "EMPTY="}));
  }
  EXPECT_EQ(pid_of("we"), -1);
  EXPECT_EQ(pid_of("a1"), -1) << "too short for the start of an id";
}

TEST_F(Containers, AStoppedOneIsSaidToBeStopped) {
  write_state("var/lib/docker/containers/" + kWeb + "/config.v2.json",
              R"({"Name":"/web","State":{"Running":false,"Pid":0}})");
  const Error error = error_of("web");
  EXPECT_EQ(error.what, "container 'web' is not running");
  EXPECT_FALSE(error.hint.empty());
}

TEST_F(Containers, AProcessThatIsOnlyWaitedForHasEnded) {
  write_state("run/runc/box/state.json", R"({"id":"box","init_process_pid":730})");
  add_process(730, 500, 60, "0::/\n", "Z");
  EXPECT_EQ(error_of("box").what, "container 'box' is not running");
}

TEST_F(Containers, AnAmbiguousStartListsWhatItMayMean) {
  add_process(700, 500, 60, "0::/system.slice/docker-" + kWeb + ".scope\n");
  add_process(800, 500, 60, "12:pids:/docker/" + kApi + "\n0::/\n");
  EXPECT_EQ(pid_of("a1b2c3"), 700);
  EXPECT_EQ(pid_of("a1b2f"), 800);
  const Error error = error_of("a1b2");
  EXPECT_NE(error.what.find("more than one"), std::string::npos);
  EXPECT_NE(error.hint.find(kWeb.substr(0, 12)), std::string::npos);
  EXPECT_NE(error.hint.find(kApi.substr(0, 12)), std::string::npos);
}

TEST_F(Containers, AnIdNeedsNoRecords) {
  add_process(900, 500, 70, "0::/kubepods.slice/cri-containerd-" + kWeb + ".scope\n");
  add_process(890, 900, 71, "0::/kubepods.slice/cri-containerd-" + kWeb + ".scope\n");
  EXPECT_EQ(pid_of(kWeb), 900) << "the first process, not the lowest PID";
  EXPECT_EQ(find_by_cgroup(kWeb, host_), 900);
  EXPECT_EQ(find_by_cgroup(kApi, host_), 0);
}

TEST_F(Containers, TheMonitorIsNotTheContainer) {
  add_process(600, 1, 10, "0::/machine.slice/libpod-conmon-" + kWeb + ".scope\n");
  add_process(601, 600, 11, "0::/machine.slice/libpod-" + kWeb + ".scope/container\n");
  EXPECT_EQ(pid_of(kWeb.substr(0, 12)), 601);
}

TEST_F(Containers, PodmanByName) {
  const std::string storage = "var/lib/containers/storage/overlay-containers/";
  write_state(storage + "containers.json", R"([{"id":")" + kApi + R"(","names":["api","alias"]}])");
  write_state(storage + kApi + "/userdata/config.json", R"({"process":{"env":["A=1"]}})");
  write_state("run/containers/storage/overlay-containers/" + kApi + "/userdata/pidfile", "777\n");
  add_process(777, 600, 12, "0::/\n");
  const auto found = find_container("alias", host_);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pid, 777);
  EXPECT_EQ(found->environment, (std::vector<std::string>{"A=1"}));
}

TEST_F(Containers, PodmanOfAnOrdinaryUser) {
  write_state("home/ada/.local/share/containers/storage/overlay-containers/containers.json",
              R"([{"id":")" + kApi + R"(","names":["mine"]}])");
  write_state("run/user/1000/containers/overlay-containers/" + kApi + "/userdata/pidfile", "778");
  add_process(778, 600, 12, "0::/\n");
  EXPECT_EQ(pid_of("mine"), 778);
}

TEST_F(Containers, KubernetesByContainerAndPod) {
  const std::string tasks = "run/containerd/io.containerd.runtime.v2.task/k8s.io/";
  write_state(tasks + kWeb + "/init.pid", "710");
  write_state(tasks + kWeb + "/config.json",
              R"({"process":{"env":["X=y"]},"annotations":{"io.kubernetes.cri.container-name":)"
              R"("app","io.kubernetes.cri.sandbox-name":"shop-0",)"
              R"("io.kubernetes.cri.sandbox-namespace":"prod"}})");
  add_process(710, 500, 60, "0::/kubepods/burstable/podx/" + kWeb + "\n");
  for (const char* wanted : {"app", "shop-0/app", "prod/shop-0/app"})
    EXPECT_EQ(pid_of(wanted), 710) << wanted;
  EXPECT_EQ(pid_of("other/shop-0/app"), -1);
}

TEST_F(Containers, TwoPodsWithTheSameContainerNameNeedThePod) {
  const std::string tasks = "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/";
  int pid = 710;
  for (const std::string& id : {kWeb, kApi}) {
    write_state(tasks + id + "/init.pid", std::to_string(pid));
    write_state(tasks + id + "/config.json",
                R"({"annotations":{"io.kubernetes.cri.container-name":"app",)"
                R"("io.kubernetes.cri.sandbox-name":"pod)" +
                    std::to_string(pid) + R"("}})");
    add_process(pid, 500, 60, "0::/kubepods/" + id + "\n");
    ++pid;
  }
  EXPECT_NE(error_of("app").what.find("more than one"), std::string::npos);
  EXPECT_EQ(pid_of("pod711/app"), 711);
}

TEST_F(Containers, NerdctlByTheFileOfItsName) {
  write_state("run/containerd/io.containerd.runtime.v2.task/default/" + kWeb + "/init.pid", "720");
  write_state("var/lib/nerdctl/1935db59/names/default/shop", kWeb + "\n");
  add_process(720, 500, 60, "0::/default/" + kWeb + "\n");
  EXPECT_EQ(pid_of("shop"), 720);
}

TEST_F(Containers, RuncCrunNspawnAndLxc) {
  write_state("run/runc/box/state.json", R"({"id":"box","init_process_pid":730})");
  write_state("run/crun/jar/status", R"({"pid":731,"bundle":"/nowhere"})");
  write_state("run/systemd/machines/vault", "NAME=vault\nCLASS=container\nLEADER=732\n");
  for (const int pid : {730, 731, 732})
    add_process(pid, 1, 60, "0::/\n");
  add_process(733, 1, 60, "0::/lxc.payload.crate/init.scope\n");
  EXPECT_EQ(pid_of("box"), 730);
  EXPECT_EQ(pid_of("jar"), 731);
  EXPECT_EQ(pid_of("vault"), 732);
  EXPECT_EQ(pid_of("crate"), 733);
}

TEST_F(Containers, ControlGroupsOfTheSystemAreNoContainers) {
  EXPECT_EQ(pid_of("docker.service"), -1);
  EXPECT_EQ(pid_of("init.scope"), -1);
  EXPECT_EQ(pid_of("system.slice"), -1);
}

TEST_F(Containers, DamagedStateIsPassedOver) {
  write_state("var/lib/docker/containers/" + kWeb + "/config.v2.json", "{\"Name\": [1, ");
  write_state("var/lib/docker/containers/short/config.v2.json",
              R"({"Name":7,"State":"x","Config":[]})");
  write_state("run/crun/jar/status", std::string(100'000, '['));
  write_state("run/runc/box/state.json", R"({"init_process_pid":-5})");
  const Error error = error_of("web");
  EXPECT_EQ(error.what, "there is no running container 'web' here");
  EXPECT_FALSE(error.hint.empty());
}

TEST_F(Containers, AStalePidOnRecordIsNotTrusted) {
  write_state("var/lib/docker/containers/" + kWeb + "/config.v2.json",
              R"({"Name":"/web","State":{"Running":true,"Pid":500}})");
  add_process(740, 500, 60, "0::/system.slice/docker-" + kWeb + ".scope\n");
  EXPECT_EQ(pid_of("web"), 740);
}

TEST_F(Containers, TheErrorListsWhatRuns) {
  write_state("run/runc/box/state.json", R"({"init_process_pid":730})");
  add_process(730, 1, 60, "0::/\n");
  EXPECT_NE(error_of("bax").hint.find("box"), std::string::npos);
}

}  // namespace
}  // namespace mirrord::agent
