// hook/inheritance.h — remote files across exec: the old image describes them in a variable, the
// new one gives its descriptors their records back.
#pragma once

#include "hook/libc.h"

namespace mirrord::hook {

// The value of MIRRORD_INHERITED for an image about to start, "NAME=value"; empty when this process
// has no remote files. Announces the image to the intproxy. Memory is freed with the object.
class Inheritance {
 public:
  Inheritance();
  ~Inheritance();
  Inheritance(const Inheritance&) = delete;
  Inheritance& operator=(const Inheritance&) = delete;
  [[nodiscard]] char* text() const { return text_; }  // nullptr: nothing to hand over

 private:
  char* text_ = nullptr;
};

// At start: the keys under which the old image's handles are waiting; before the first connection.
void take_inherited_keys();
// After it: the records. The variable is removed from the environment.
void take_inherited_files();

}  // namespace mirrord::hook
