// tests/hook/calls/directory_calls.c — directory streams and the functions that walk trees.
#include <dirent.h>
#include <ftw.h>
#include <glob.h>
#include <sys/stat.h>

#ifdef __GLIBC__
#include <fts.h>
#endif

#include "calls.h"

// The folder "dir" holds a, b and c.
static void check_names(DIR* stream) {
  int seen = 0;
  const struct dirent* entry;
  errno = 0;
  while ((entry = readdir(stream)) != NULL) {
    if (entry->d_name[0] != '.') {
      CHECK(strlen(entry->d_name) == 1);
      seen |= 1 << (entry->d_name[0] - 'a');
      CHECK(entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN);
    }
  }
  CHECK(errno == 0);
  CHECK(seen == 7);
}

static void call_readdir(void) {
  DIR* stream = opendir(in_base("dir"));
  CHECK(stream != NULL);
  check_names(stream);
  CHECK(readdir(stream) == NULL);
  rewinddir(stream);
  check_names(stream);
  struct stat status;
  CHECK(fstat(dirfd(stream), &status) == 0 && S_ISDIR(status.st_mode));
  int fd = openat(dirfd(stream), "a", O_RDONLY);
  CHECK(fd >= 0);
  close(fd);
  CHECK(closedir(stream) == 0);
  CHECK(opendir(in_base("missing")) == NULL && errno == ENOENT);
  CHECK(opendir(in_base("text")) == NULL && errno == ENOTDIR);
}

static void call_fdopendir(void) {
  int fd = open(in_base("dir"), O_RDONLY | O_DIRECTORY);
  DIR* stream = fdopendir(fd);
  CHECK(stream != NULL);
  check_names(stream);
  CHECK(closedir(stream) == 0);
  CHECK_FAILS(close(fd), EBADF);
  fd = open(in_base("text"), O_RDONLY);
  CHECK(fdopendir(fd) == NULL && errno == ENOTDIR);
  close(fd);
}

static void call_seekdir(void) {
  DIR* stream = opendir(in_base("dir"));
  CHECK(readdir(stream) != NULL);
  CHECK(readdir(stream) != NULL);
  long place = telldir(stream);
  struct dirent* entry = readdir(stream);
  CHECK(entry != NULL);
  char name[256];
  strcpy(name, entry->d_name);
  while (readdir(stream) != NULL) {
  }
  seekdir(stream, place);
  entry = readdir(stream);
  CHECK(entry != NULL && strcmp(entry->d_name, name) == 0);
  closedir(stream);
}

static void call_many_entries(void) {
  DIR* stream = opendir(in_base("many"));
  CHECK(stream != NULL);
  int count = 0;
  while (readdir(stream) != NULL) {
    ++count;
  }
  CHECK(count == 1502);
  closedir(stream);
}

static int only_letters(const struct dirent* entry) {
  return entry->d_name[0] != '.';
}

static void call_scandir(void) {
  struct dirent** entries = NULL;
  CHECK(scandir(in_base("dir"), &entries, only_letters, alphasort) == 3);
  for (int i = 0; i < 3; ++i) {
    CHECK(entries[i]->d_name[0] == 'a' + i);
    free(entries[i]);
  }
  free(entries);
  CHECK(scandir(in_base("many"), &entries, only_letters, NULL) == 1500);
  for (int i = 0; i < 1500; ++i) {
    free(entries[i]);
  }
  free(entries);
  CHECK(scandir(in_base("missing"), &entries, NULL, NULL) == -1 && errno == ENOENT);
}

static void call_glob(void) {
  glob_t found = {0};
  CHECK(glob(in_base("dir/*"), 0, NULL, &found) == 0);
  CHECK(found.gl_pathc == 3);
  CHECK(strcmp(found.gl_pathv[0], in_base("dir/a")) == 0);
  globfree(&found);
  CHECK(glob(in_base("dir/x*"), 0, NULL, &found) == GLOB_NOMATCH);
  CHECK(glob(in_base("*/b"), 0, NULL, &found) == 0);
  CHECK(found.gl_pathc == 1);
  globfree(&found);
  CHECK(glob(in_base("dir/[bc]"), GLOB_DOOFFS, NULL, &found) == 0);
  CHECK(glob(in_base("wher?"), GLOB_APPEND | GLOB_DOOFFS, NULL, &found) == 0);
  CHECK(found.gl_pathc == 3 && found.gl_pathv[3] == NULL);
  CHECK(strcmp(found.gl_pathv[2], in_base("where")) == 0);
  globfree(&found);
  CHECK(glob(in_base("di*"), GLOB_MARK, NULL, &found) == 0);
  CHECK(strcmp(found.gl_pathv[0], in_base("dir/")) == 0);
  globfree(&found);
  CHECK(glob(in_base("none*"), GLOB_NOCHECK, NULL, &found) == 0);
  CHECK(strcmp(found.gl_pathv[0], in_base("none*")) == 0);
  globfree(&found);
  CHECK(glob(in_base("te\\xt"), 0, NULL, &found) == 0 && found.gl_pathc == 1);
  globfree(&found);
  CHECK(glob(in_base("many/*name 1*7"), GLOB_NOSORT, NULL, &found) == 0);
  CHECK(found.gl_pathc == 61);
  globfree(&found);
}

#ifdef __GLIBC__

static int by_name(const FTSENT** a, const FTSENT** b) {
  return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void call_fts(void) {
  char* paths[] = {(char*)in_base("dir"), (char*)in_base("link"), (char*)in_base("missing"), NULL};
  FTS* walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
  CHECK(walk != NULL);
  char seen[200] = "";
  const FTSENT* entry;
  while ((entry = fts_read(walk)) != NULL) {
    char word[64];
    snprintf(word, sizeof word, "%s:%d:%d ", entry->fts_name, entry->fts_info, entry->fts_level);
    strcat(seen, word);
    CHECK(strcmp(entry->fts_path + entry->fts_pathlen - entry->fts_namelen, entry->fts_name) == 0);
    CHECK(entry->fts_info == FTS_NS || entry->fts_statp->st_mode != 0);
    CHECK(entry->fts_info != FTS_NS || entry->fts_errno == ENOENT);
  }
  CHECK(errno == 0);
  CHECK(fts_close(walk) == 0);
  char expected[200];
  snprintf(expected, sizeof expected,
           "dir:%d:0 a:%d:1 b:%d:1 c:%d:1 dir:%d:0 link:%d:0 missing:%d:0 ", FTS_D, FTS_F, FTS_F,
           FTS_F, FTS_DP, FTS_SL, FTS_NS);
  if (strcmp(seen, expected) != 0) {
    dprintf(2, "%s\nnot\n%s\n", seen, expected);
    CHECK(!"the walk is the wrong one");
  }

  // Children ahead, a subtree left out, a link followed, the end before the end.
  char* base[] = {(char*)base_path, NULL};
  walk = fts_open(base, FTS_PHYSICAL, by_name);
  CHECK(fts_children(walk, 0) != NULL);
  FTSENT* root = fts_read(walk);
  CHECK(root->fts_info == FTS_D);
  FTSENT* child = fts_children(walk, 0);
  CHECK(strcmp(child->fts_name, "big") == 0);
  for (; child != NULL; child = child->fts_link) {
    if (strcmp(child->fts_name, "many") == 0) {
      fts_set(walk, child, FTS_SKIP);
    } else if (strcmp(child->fts_name, "link") == 0) {
      fts_set(walk, child, FTS_FOLLOW);
    }
  }
  int files_seen = 0;
  bool was_followed = false;
  while ((entry = fts_read(walk)) != NULL && strcmp(entry->fts_name, "text") != 0) {
    CHECK(strcmp(entry->fts_name, "many") != 0);
    was_followed =
        was_followed || (strcmp(entry->fts_name, "link") == 0 && entry->fts_info == FTS_F);
    ++files_seen;
  }
  CHECK(entry != NULL && was_followed && files_seen >= 8);
  CHECK(fts_close(walk) == 0);
  walk = fts_open(base, FTS_PHYSICAL, by_name);
  CHECK(fts_read(walk) != NULL && fts_children(walk, FTS_NAMEONLY) != NULL);
  CHECK(fts_close(walk) == 0);
  CHECK(fts_open(paths, 0x4000, NULL) == NULL && errno == EINVAL);
}

static void call_getdents(void) {
  char data[4096];
  int fd = open(in_base("dir"), O_RDONLY | O_DIRECTORY);
  ssize_t size = getdents64(fd, data, sizeof data);
  CHECK(size > 0);
  int count = 0;
  for (ssize_t at = 0; at < size; at += ((struct dirent64*)(data + at))->d_reclen) {
    ++count;
  }
  CHECK(count == 5);
  CHECK(getdents64(fd, data, sizeof data) == 0);
  CHECK(lseek(fd, 0, SEEK_SET) == 0);
  CHECK(getdents64(fd, data, 48) > 0);
  CHECK_FAILS(read(fd, data, 10), EISDIR);
  close(fd);
}
#else
static void call_fts(void) {}
static void call_getdents(void) {}
#endif

static int files;
static int folders;

static int count_ftw(const char* path, const struct stat* status, int type) {
  CHECK(strstr(path, "/dir") != NULL);
  CHECK(status != NULL);
  files += type == FTW_F;
  folders += type == FTW_D;
  return 0;
}

static int count_nftw(const char* path, const struct stat* status, int type, struct FTW* place) {
  CHECK(path[place->base - 1] == '/');
  CHECK(status->st_mode != 0);
  files += type == FTW_F;
  folders += type == FTW_DP;
  return place->level > 1 ? 7 : 0;
}

static void call_ftw(void) {
  files = folders = 0;
  CHECK(ftw(in_base("dir"), count_ftw, 10) == 0);
  CHECK(files == 3 && folders == 1);
  files = folders = 0;
  CHECK(nftw(in_base("dir"), count_nftw, 10, FTW_PHYS | FTW_DEPTH) == 0);
  CHECK(files == 3 && folders == 1);
  CHECK(nftw(in_base("missing"), count_nftw, 10, 0) == -1);
}

const struct Call kDirectoryCalls[] = {
    {"readdir", call_readdir}, {"fdopendir", call_fdopendir},
    {"seekdir", call_seekdir}, {"many entries", call_many_entries},
    {"scandir", call_scandir}, {"glob", call_glob},
    {"fts", call_fts},         {"getdents64", call_getdents},
    {"ftw", call_ftw},         {NULL, NULL},
};
