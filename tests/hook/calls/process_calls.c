// tests/hook/calls/process_calls.c — children of all kinds see the same files, and inherit open
// ones.
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "calls.h"

extern char** environ;

// Runs in a child made by `make_child`: the exit status 0 says that the file could be read.
static void check_child(pid_t child) {
  int status = -1;
  CHECK(child > 0);
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static char* grep_text[] = {(char*)"grep", (char*)"-q", (char*)"^line two$", NULL, NULL};

static void call_fork_exec(void) {
  grep_text[3] = (char*)in_base("text");
  pid_t child = fork();
  if (child == 0) {
    execv("/bin/grep", grep_text);
    _exit(9);
  }
  check_child(child);
  child = vfork();
  if (child == 0) {
    execvp("grep", grep_text);
    _exit(9);
  }
  check_child(child);
  child = fork();
  if (child == 0) {
    execl("/bin/grep", "grep", "-q", "^line two$", grep_text[3], NULL);
    _exit(9);
  }
  check_child(child);
  child = fork();
  if (child == 0) {
    execlp("grep", "grep", "-q", "^line two$", grep_text[3], NULL);
    _exit(9);
  }
  check_child(child);
}

// An environment without the session's variables is repaired.
static void call_exec_environment(void) {
  char* nothing[] = {NULL};
  grep_text[3] = (char*)in_base("text");
  pid_t child = fork();
  if (child == 0) {
    execve("/bin/grep", grep_text, nothing);
    _exit(9);
  }
  check_child(child);
  child = fork();
  if (child == 0) {
    execle("/bin/grep", "grep", "-q", "^line two$", grep_text[3], NULL, nothing);
    _exit(9);
  }
  check_child(child);
  char* other[] = {(char*)"LD_PRELOAD=", (char*)"MIRRORD_SESSION=/nowhere", NULL};
  child = fork();
  if (child == 0) {
    execvpe("grep", grep_text, other);
    _exit(9);
  }
  check_child(child);
  int fd = open("/bin/grep", O_RDONLY | O_CLOEXEC);
  child = fork();
  if (child == 0) {
    fexecve(fd, grep_text, nothing);
    _exit(9);
  }
  check_child(child);
  close(fd);
}

static void call_posix_spawn(void) {
  char* nothing[] = {NULL};
  pid_t child = 0;
  grep_text[3] = (char*)in_base("text");
  CHECK(posix_spawn(&child, "/bin/grep", NULL, NULL, grep_text, environ) == 0);
  check_child(child);
  CHECK(posix_spawnp(&child, "grep", NULL, NULL, grep_text, nothing) == 0);
  check_child(child);
  CHECK(posix_spawnp(&child, "no-such-program", NULL, NULL, grep_text, nothing) == ENOENT);
}

// Open files: by number, as standard input, and through file actions.
static void call_inherit(void) {
  int fd = open(in_base("text"), O_RDONLY);
  char byte[5];
  CHECK(read(fd, byte, 5) == 5);
  pid_t child = fork();
  if (child == 0) {
    dup2(fd, 0);
    execlp("grep", "grep", "-q", "^one$", NULL);
    _exit(9);
  }
  check_child(child);
  CHECK(lseek(fd, 0, SEEK_CUR) == 18);
  CHECK(lseek(fd, 0, SEEK_SET) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, fd, 0);
  char* arguments[] = {(char*)"grep", (char*)"-q", (char*)"^line two$", NULL};
  CHECK(posix_spawnp(&child, "grep", &actions, NULL, arguments, environ) == 0);
  check_child(child);
  posix_spawn_file_actions_destroy(&actions);
  close(fd);
}

// Redirections as a shell makes them, done by posix_spawn in the child.
static void call_spawn_redirected(void) {
  const char* path = in_base("spawned");
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t defaults;
  pid_t child = 0;
  char* arguments[] = {(char*)"cat", NULL};
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  posix_spawn_file_actions_addopen(&actions, 0, in_base("text"), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
  CHECK(posix_spawnp(&child, "cat", &actions, &attributes, arguments, environ) == 0);
  CHECK(getpgid(child) == child || getpgid(child) == -1);
  check_child(child);
  check_content(path, "line one\nline two\n");
  posix_spawn_file_actions_destroy(&actions);

  // The error of an action is the result; no child is left.
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, in_base("missing"), O_RDONLY, 0);
  CHECK(posix_spawnp(&child, "cat", &actions, NULL, arguments, environ) == ENOENT);
  CHECK_FAILS(waitpid(-1, NULL, WNOHANG), ECHILD);
  posix_spawn_file_actions_destroy(&actions);

  // Standard output and errors in one file; a descriptor that is closed.
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 2, path, O_WRONLY | O_APPEND, 0);
  posix_spawn_file_actions_adddup2(&actions, 2, 1);
  posix_spawn_file_actions_addclose(&actions, 0);
  char* shell[] = {(char*)"sh", (char*)"-c", (char*)"echo out; echo err >&2; read x || echo closed",
                   NULL};
  CHECK(posix_spawn(&child, "/bin/sh", &actions, NULL, shell, environ) == 0);
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  posix_spawn_file_actions_destroy(&actions);
  char data[200] = "";
  int fd = open(path, O_RDONLY);
  CHECK(read(fd, data, sizeof data - 1) > 0);
  CHECK(strstr(data, "line two\nout\nerr\n") != NULL && strstr(data, "closed\n") != NULL);
  close(fd);
  CHECK(unlink(path) == 0);
}

static void call_spawn_in_directory(void) {
  posix_spawn_file_actions_t actions;
  pid_t child = 0;
  char* arguments[] = {(char*)"sh", (char*)"-c", (char*)"ls > ../listed", NULL};
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addchdir_np(&actions, in_base("dir"));
  CHECK(posix_spawn(&child, "/bin/sh", &actions, NULL, arguments, environ) == 0);
  check_child(child);
  posix_spawn_file_actions_destroy(&actions);
  check_content(in_base("listed"), "a\nb\nc\n");
  int directory = open(in_base("many"), O_RDONLY | O_DIRECTORY);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addfchdir_np(&actions, directory);
  char* head[] = {(char*)"sh", (char*)"-c", (char*)"cat ../where > ../listed", NULL};
  CHECK(posix_spawn(&child, "/bin/sh", &actions, NULL, head, environ) == 0);
  check_child(child);
  posix_spawn_file_actions_destroy(&actions);
  close(directory);
  check_content(in_base("listed"), getenv("CALLS_WHERE"));
  CHECK(unlink(in_base("listed")) == 0);
}

static void call_inherit_writes(void) {
  const char* path = in_base("from children");
  int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
  CHECK(write(fd, "a ", 2) == 2);
  pid_t child = fork();
  if (child == 0) {
    dup2(fd, 1);
    execlp("sh", "sh", "-c", "echo b; echo c", NULL);
    _exit(9);
  }
  check_child(child);
  CHECK(write(fd, "d\n", 2) == 2);
  CHECK(close(fd) == 0);
  check_content(path, "a b\nc\nd\n");
  int both = open(path, O_RDWR);
  CHECK(lseek(both, 2, SEEK_SET) == 2);
  child = fork();
  if (child == 0) {
    dup2(both, 0);
    execlp("sh", "sh", "-c", "read x && test \"$x\" = b", NULL);
    _exit(9);
  }
  check_child(child);
  close(both);
  CHECK(unlink(path) == 0);
}

static void call_system(void) {
  char command[1024];
  snprintf(command, sizeof command, "grep -q '^line two$' '%s'", in_base("text"));
  CHECK(system(command) == 0);
  snprintf(command, sizeof command, "cat '%s' | tail -n 1", in_base("text"));
  FILE* stream = popen(command, "r");
  char line[64];
  CHECK(stream != NULL && fgets(line, sizeof line, stream) != NULL);
  CHECK(strcmp(line, "line two\n") == 0);
  CHECK(pclose(stream) == 0);
}

static void* read_often(void* path) {
  for (int i = 0; i < 100; ++i) {
    check_content(path, "line one\nline two\n");
  }
  return NULL;
}

// Forks while other threads are at work.
static void call_fork_in_threads(void) {
  char path[512];
  strcpy(path, in_base("text"));
  pthread_t threads[4];
  for (int i = 0; i < 4; ++i) {
    CHECK(pthread_create(&threads[i], NULL, read_often, path) == 0);
  }
  for (int i = 0; i < 20; ++i) {
    pid_t child = fork();
    if (child == 0) {
      read_often(path);
      _exit(0);
    }
    check_child(child);
  }
  for (int i = 0; i < 4; ++i) {
    pthread_join(threads[i], NULL);
  }
}

const struct Call kProgramCalls[] = {
    {"spawn redirected", call_spawn_redirected},
    {"spawn in a directory", call_spawn_in_directory},
    {"fork and exec", call_fork_exec},
    {"exec repairs the environment", call_exec_environment},
    {"posix_spawn", call_posix_spawn},
    {"inherited files", call_inherit},
    {"inherited written files", call_inherit_writes},
    {"system and popen", call_system},
    {NULL, NULL},
};

const struct Call kProcessCalls[] = {
    {"fork in threads", call_fork_in_threads},
    {NULL, NULL},
};
