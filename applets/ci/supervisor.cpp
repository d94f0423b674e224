// applets/ci/supervisor.cpp — the supervisor's process: forked, in a session of its own, the parent of every orphan that its
// program leaves (PR_SET_CHILD_SUBREAPER).
#include "applets/ci/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <vector>

#include "applets/intproxy/start.h"
#include "applets/local_redis.h"
#include "net/fd.h"
#include "net/file.h"
#include "net/pipe.h"

namespace mirrord::ci {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// After the program: the session's own processes end by themselves within this time.
constexpr milliseconds kSessionEnd{5000};

void redirect(const std::string& path, int number) {
  const Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (file)
    dup2(file.get(), number);
}

void take_streams(const std::string& directory) {
  const Fd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  dup2(null.get(), STDIN_FILENO);
  redirect(directory + "/stdout", STDOUT_FILENO);
  redirect(directory + "/stderr", STDERR_FILENO);
}

constexpr char kReady = 'R';
constexpr char kNotStarted = 'N';  // alone, in place of a process: it has said why

// The child: `ready` closes when the program takes this process over; a program that does not (a container) says so.
[[noreturn]] void run_child(const Supervised& run, const Start& start, const Fd& ready) {
  setpgid(0, 0);
  const int code = start([&] {
    take_streams(run.directory);
    const char letter = kReady;
    [[maybe_unused]] const ssize_t written = write(ready.get(), &letter, 1);
  });
  _exit(code);
}

// Descendants that are children of this process: its own, and orphans that came to it.
std::vector<pid_t> own_children() {
  const std::string path = "/proc/self/task/" + std::to_string(getpid()) + "/children";
  const std::string text = net::read_file(path, 1 << 20).value_or("");
  std::vector<pid_t> children;
  const char* at = text.c_str();
  char* end = nullptr;
  for (long pid = std::strtol(at, &end, 10); end != at; pid = std::strtol(at, &end, 10)) {
    children.push_back(static_cast<pid_t>(pid));
    at = end;
  }
  return children;
}

sigset_t ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD})
    sigaddset(&set, number);
  return set;
}

// Waits for one program and reaps whatever else comes.
class Watch {
 public:
  explicit Watch(pid_t program) : program_(program) {
    const sigset_t set = ending_signals();
    signals_.reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  [[nodiscard]] const std::optional<int>& status() const { return status_; }

  // Until the program has ended, a signal asks to end, or the time is over. Returns that signal, or 0.
  int wait(milliseconds limit) {
    const auto deadline = Clock::now() + limit;
    for (;;) {
      reap();
      const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
      if (status_ || left.count() <= 0)
        return 0;
      pollfd watched{signals_.get(), POLLIN, 0};
      poll(&watched, 1, static_cast<int>(std::min(left, milliseconds(60'000)).count()));
      signalfd_siginfo info{};
      while (read(signals_.get(), &info, sizeof info) == sizeof info) {
        if (info.ssi_signo != SIGCHLD)
          return static_cast<int>(info.ssi_signo);
      }
    }
  }

 private:
  void reap() {
    int status = 0;
    for (pid_t ended = waitpid(-1, &status, WNOHANG); ended > 0;
         ended = waitpid(-1, &status, WNOHANG)) {
      if (ended == program_)
        status_ = status;
    }
  }

  pid_t program_;
  Fd signals_;
  std::optional<int> status_;
};

constexpr milliseconds kForEver = std::chrono::hours(24 * 365);

// Asks the program's group to end, then makes it.
void end_program(Watch& watch, pid_t program) {
  kill(-program, SIGTERM);
  watch.wait(std::chrono::seconds(kGraceSeconds));
  if (!watch.status())
    kill(-program, SIGKILL);
  watch.wait(std::chrono::seconds(kGraceSeconds));
}

// The session's own processes are nobody's children and so come here as well: its proxy, and what keeps its Redis.
bool is_of_session(pid_t pid) {
  const std::string name =
      net::read_file("/proc/" + std::to_string(pid) + "/comm", 64).value_or("");
  return name == std::string(intproxy::kProcessName) + "\n" ||
         name == std::string(kRedisKeeperName) + "\n";
}

// What the program has left behind: daemons of its own. The session's processes end by themselves after them.
void end_orphans(pid_t program) {
  kill(-program, SIGKILL);
  const auto deadline = Clock::now() + kSessionEnd;
  const auto is_late = [&] { return Clock::now() >= deadline; };
  const auto give_up = deadline + kSessionEnd;
  for (auto children = own_children(); !children.empty() && Clock::now() < give_up;
       children = own_children()) {
    for (const pid_t child : children) {
      if (is_late() || !is_of_session(child))
        kill(child, SIGKILL);
    }
    usleep(5'000);
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }
}

// From the program's start to its end, and that of what it has started if `is_stopped`.
int supervise(Watch& watch, pid_t program, bool forwards_signals) {
  bool is_stopped = false;
  while (!watch.status()) {
    const int number = watch.wait(kForEver);
    if (number == 0)
      continue;
    if (forwards_signals) {
      kill(-program, number);
    } else {
      is_stopped = true;
      end_program(watch, program);
    }
  }
  if (is_stopped)
    end_orphans(program);
  return shell_status(*watch.status());
}

void note_end(Record record, int status) {
  record.exit_status = status;
  static_cast<void>(
      net::write_private_file(record.directory + "/exit_status", std::to_string(status) + "\n"));
  static_cast<void>(write_record(record));
}

// Blocks the signals that the watch reads; the child gets them back.
class BlockedSignals {
 public:
  BlockedSignals() {
    const sigset_t set = ending_signals();
    sigprocmask(SIG_BLOCK, &set, &before_);
  }
  ~BlockedSignals() { restore(); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;
  void restore() const { sigprocmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

// Whether the program runs: its process was taken over, or it said so. False: it has ended before.
bool wait_until_ready(Watch& watch, const Fd& ready, const Fd& caller) {
  for (;;) {
    std::array<pollfd, 2> watched{pollfd{ready.get(), POLLIN, 0}, pollfd{caller.get(), 0, 0}};
    poll(watched.data(), watched.size(), -1);
    if ((watched[1].revents & POLLERR) != 0)
      return false;  // whoever wanted it is gone
    if (watched[0].revents == 0)
      continue;
    char letter = 0;
    const bool has_letter = read(ready.get(), &letter, 1) == 1;
    // The end without a letter: it failed; with one before: execve has closed the pipe, or a container runs.
    watch.wait(milliseconds(has_letter ? 50 : 5000));
    return has_letter;
  }
}

[[noreturn]] void be_supervisor(const Supervised& run, const Start& start, const Fd& report) {
  setsid();
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_NAME, "mirrord-ci");
  const BlockedSignals blocked;
  auto ready = net::make_pipe();
  const pid_t program = ready ? fork() : -1;
  if (program < 0)
    _exit(1);
  if (program == 0) {
    blocked.restore();
    run_child(run, start, ready->write);
  }
  setpgid(program, program);
  ready->write.reset();
  Watch watch(program);
  if (!wait_until_ready(watch, ready->read, report)) {
    if (!watch.status())
      end_program(watch, program);
    const char letter = kNotStarted;
    [[maybe_unused]] const ssize_t told = write(report.get(), &letter, 1);
    _exit(watch.status() ? shell_status(*watch.status()) : 1);
  }
  Record record{.id = run.id,
                .program = run.program,
                .directory = run.directory,
                .boot = boot_id(),
                .process = known_process(program),
                .supervisor = known_process(getpid()),
                .exit_status = {}};
  if (!write_record(record)) {
    end_program(watch, program);
    _exit(1);
  }
  if (watch.status() && *watch.status() != 0) {
    // So soon that whoever starts it should know.
    note_end(record, shell_status(*watch.status()));
    remove_record(run.id);
    _exit(shell_status(*watch.status()));
  }
  [[maybe_unused]] const ssize_t written =
      write(report.get(), &record.process, sizeof record.process);
  close(report.get());
  const Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number)
    dup2(null.get(), number);
  note_end(record, supervise(watch, program, false));
  _exit(0);
}

}  // namespace

int shell_status(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

Result<KnownProcess> start_in_background(const Supervised& run, const Start& start) {
  MIRRORD_TRY(report, net::make_pipe());
  const pid_t supervisor = fork();
  if (supervisor < 0)
    return fail_system("start the supervisor", errno);
  if (supervisor == 0) {
    report.read.reset();
    be_supervisor(run, start, report.write);
  }
  report.write.reset();
  KnownProcess process;
  ssize_t count = 0;
  do {
    count = read(report.read.get(), &process, sizeof process);
  } while (count < 0 && errno == EINTR);
  if (count == sizeof process)
    return process;
  int status = 0;
  while (waitpid(supervisor, &status, 0) < 0 && errno == EINTR) {
  }
  const int code = shell_status(status);
  if (count == 1)
    return std::unexpected(Error{ErrorCode::kSystem, {}, {}, code});
  return std::unexpected(
      Error{ErrorCode::kSystem,
            "`" + run.program + "` has ended at once, with exit status " + std::to_string(code),
            "Its output is in " + run.directory + ".", code});
}

Result<int> run_in_foreground(const Supervised& run, const Start& start) {
  const BlockedSignals blocked;
  MIRRORD_TRY(ready, net::make_pipe());
  const pid_t program = fork();
  if (program < 0)
    return fail_system("start the program", errno);
  if (program == 0) {
    blocked.restore();
    run_child(run, start, ready.write);
  }
  setpgid(program, program);
  Watch watch(program);
  const int status = supervise(watch, program, true);
  static_cast<void>(
      net::write_private_file(run.directory + "/exit_status", std::to_string(status) + "\n"));
  return status;
}

}  // namespace mirrord::ci
