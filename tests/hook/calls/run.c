// tests/hook/calls/run.c — runs the calls: from main, a thread, a forked child or a constructor of
// this library, which comes before the hook's own.
#include <pthread.h>
#include <sys/wait.h>

#include "calls.h"

const char* base_path;
bool is_remote;
bool is_emulated;

static int failures;
static const char* current;

const char* in_base(const char* name) {
  static __thread char paths[8][512];
  static __thread int next;
  char* path = paths[next++ % 8];
  snprintf(path, 512, "%s/%s", base_path, name);
  return path;
}

void check_failed(const char* file, int line, const char* what) {
  int error = errno;
  dprintf(2, "%s: %s:%d: %s (errno %d: %s)\n", current, file, line, what, error, strerror(error));
  ++failures;
}

void check_content(const char* path, const char* text) {
  char data[4096];
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0);
  ssize_t size = read(fd, data, sizeof data - 1);
  data[size < 0 ? 0 : size] = '\0';
  if (strcmp(data, text) != 0) {
    dprintf(2, "%s: %s holds \"%s\", not \"%s\"\n", current, path, data, text);
    ++failures;
  }
  CHECK(close(fd) == 0);
}

void make_file(const char* path, const char* text) {
  int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
  CHECK(fd >= 0);
  CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  CHECK(close(fd) == 0);
}

static void run_list(const struct Call* calls, const char* only) {
  for (; calls->name != NULL; ++calls) {
    if (only == NULL || strcmp(only, calls->name) == 0) {
      current = calls->name;
      calls->run();
    }
  }
}

static void* run_all(void* only) {
  run_list(kOpenCalls, only);
  run_list(kDataCalls, only);
  run_list(kMetadataCalls, only);
  run_list(kNameCalls, only);
  run_list(kDirectoryCalls, only);
  run_list(kStreamCalls, only);
  run_list(kProcessCalls, only);
  if (!is_emulated) {
    run_list(kProgramCalls, only);
  }
  return NULL;
}

// The folder's own word for where it lies must be the expected one.
static void set_up(void) {
  base_path = getenv("CALLS_BASE");
  const char* where = getenv("CALLS_WHERE");
  current = "where";
  is_remote = strcmp(where, "remote") == 0;
  is_emulated = getenv("MIRRORD_EMULATOR") != NULL;
  check_content(in_base("where"), where);
}

static int finish(const char* context) {
  fflush(NULL);
  if (failures != 0) {
    dprintf(2, "%d checks failed (%s)\n", failures, context);
  }
  return failures != 0;
}

static void* run_in_thread(void* only) {
  for (int i = 0; i < 3; ++i) {
    run_all(only);
  }
  return NULL;
}

int run_calls(const char* context, const char* only) {
  set_up();
  if (strcmp(context, "thread") == 0) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run_in_thread, (void*)only) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
  } else if (strcmp(context, "fork") == 0) {
    pid_t child = fork();
    if (child == 0) {
      run_all((void*)only);
      _exit(finish(context));
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  } else {
    run_all((void*)only);
  }
  return finish(context);
}

__attribute__((constructor)) static void on_load(void) {
  const char* context = getenv("CALLS_CONTEXT");
  if (context != NULL && strcmp(context, "constructor") == 0) {
    setenv("CALLS_CONTEXT", "done", 1);
    exit(run_calls(context, getenv("CALLS_ONLY")));
  }
}
