// tests/hook/calls/stream_calls.c — FILE streams.
#include <sys/stat.h>

#include "calls.h"

static void call_fopen_read(void) {
  char line[64];
  FILE* stream = fopen(in_base("text"), "r");
  CHECK(stream != NULL);
  CHECK(fgets(line, sizeof line, stream) != NULL && strcmp(line, "line one\n") == 0);
  CHECK(ftell(stream) == 9);
  CHECK(fseek(stream, 5, SEEK_SET) == 0);
  CHECK(fgets(line, sizeof line, stream) != NULL && strcmp(line, "one\n") == 0);
  struct stat status;
  CHECK(fstat(fileno(stream), &status) == 0 && status.st_size == 18);
  CHECK(fclose(stream) == 0);
  CHECK(fopen(in_base("missing"), "r") == NULL && errno == ENOENT);
  CHECK(fopen(in_base("text"), "nonsense") == NULL && errno == EINVAL);
}

static void call_fopen_big(void) {
  FILE* stream = fopen(in_base("big"), "re");
  long count = 0;
  int byte;
  while ((byte = getc(stream)) != EOF) {
    if (byte != 'a' + count % 23) {
      CHECK(!"big content");
      break;
    }
    ++count;
  }
  CHECK(count == 300000 && feof(stream) && !ferror(stream));
  CHECK(fseek(stream, -23 * 100, SEEK_END) == 0);
  CHECK(getc(stream) == 'a' + (300000 - 2300) % 23);
  CHECK(fclose(stream) == 0);
}

static void call_fopen_write(void) {
  const char* path = in_base("streamed");
  FILE* stream = fopen(path, "w");
  CHECK(stream != NULL);
  CHECK(fprintf(stream, "number %d\n", 5) == 9);
  CHECK(fclose(stream) == 0);
  stream = fopen(path, "a");
  CHECK(fputs("more\n", stream) >= 0);
  CHECK(fflush(stream) == 0);
  check_content(path, "number 5\nmore\n");
  CHECK(fclose(stream) == 0);
  stream = fopen(path, "r+");
  CHECK(fseek(stream, 7, SEEK_SET) == 0);
  CHECK(fputs("6", stream) >= 0);
  rewind(stream);
  char line[64];
  CHECK(fgets(line, sizeof line, stream) != NULL && strcmp(line, "number 6\n") == 0);
  CHECK(fclose(stream) == 0);
  check_content(path, "number 6\nmore\n");
  CHECK(fopen(path, "wx") == NULL && errno == EEXIST);
  CHECK(unlink(path) == 0);
}

static void call_fdopen(void) {
  char line[64];
  int fd = open(in_base("text"), O_RDONLY);
#ifdef __GLIBC__  // musl does not look at the access mode
  CHECK(fdopen(fd, "w") == NULL && errno == EINVAL);
#endif
  FILE* stream = fdopen(fd, "r");
  CHECK(stream != NULL && fileno(stream) == fd);
  CHECK(fgets(line, sizeof line, stream) != NULL && strcmp(line, "line one\n") == 0);
  CHECK(fclose(stream) == 0);
  CHECK_FAILS(close(fd), EBADF);
  fd = open(in_base("fdopened"), O_CREAT | O_TRUNC | O_WRONLY, 0600);
  stream = fdopen(fd, "w");
  CHECK(stream != NULL && fileno(stream) == fd);
  CHECK(fputs("by stream", stream) >= 0);
  CHECK(fclose(stream) == 0);
  check_content(in_base("fdopened"), "by stream");
  CHECK(unlink(in_base("fdopened")) == 0);
}

static void call_freopen(void) {
  char line[64];
  FILE* stream = fopen("/dev/null", "r");
  FILE* again = freopen(in_base("text"), "r", stream);
  CHECK(again == stream);
  CHECK(fgets(line, sizeof line, again) != NULL && strcmp(line, "line one\n") == 0);
  again = freopen(in_base("reopened"), "w", again);
  CHECK(again != NULL);
  CHECK(fputs("again", again) >= 0);
  CHECK(fclose(again) == 0);
  check_content(in_base("reopened"), "again");
  CHECK(unlink(in_base("reopened")) == 0);
}

// The C library's own standard streams, put on remote files.
static void call_standard_streams(void) {
  fflush(stdout);
  int saved = dup(1);
  const int modes[3] = {O_WRONLY, O_RDWR, O_RDWR | O_APPEND};
  for (int i = 0; i < 3; ++i) {
    make_file(in_base("output"), "begin ");
    int fd = open(in_base("output"), modes[i]);
    CHECK(lseek(fd, 0, SEEK_END) == 6);
    CHECK(dup2(fd, 1) == 1);
    CHECK(close(fd) == 0);
    printf("number %d\n", i);
    CHECK(fflush(stdout) == 0);
    CHECK(dup2(saved, 1) == 1);
    char expected[64];
    snprintf(expected, sizeof expected, "begin number %d\n", i);
    check_content(in_base("output"), expected);
  }
  close(saved);
  CHECK(unlink(in_base("output")) == 0);
  saved = dup(0);
  int fd = open(in_base("big"), O_RDONLY);
  CHECK(dup2(fd, 0) == 0 && close(fd) == 0);
  FILE* input = fdopen(0, "r");
  for (long at = 0; at < 300000; ++at) {
    if (getc(input) != 'a' + at % 23) {
      CHECK(!"big content");
      break;
    }
  }
  CHECK(getc(input) == EOF);
  CHECK(dup2(saved, 0) == 0);
  close(saved);
}

static void call_local_streams(void) {
  FILE* stream = tmpfile();
  CHECK(stream != NULL && fputs("x", stream) >= 0 && fclose(stream) == 0);
  char name[] = "/tmp/mirrord-calls-XXXXXX";
  int fd = mkstemp(name);
  CHECK(fd >= 0);
  close(fd);
  CHECK(unlink(name) == 0);
}

const struct Call kStreamCalls[] = {
    {"fopen for reading", call_fopen_read},
    {"fopen of a big file", call_fopen_big},
    {"fopen for writing", call_fopen_write},
    {"fdopen", call_fdopen},
    {"freopen", call_freopen},
    {"standard streams", call_standard_streams},
    {"local streams", call_local_streams},
    {NULL, NULL},
};
