// hook/elf_lookup.cpp — finds symbols in the loaded objects without dlsym.
#include "hook/elf_lookup.h"

#include <link.h>

#include "hook/libc.h"

#pragma weak dl_iterate_phdr

namespace mirrord::hook {
namespace {

struct Tables {
  const ElfW(Sym) * symbols;
  const char* names;
  const uint32_t* hash;         // DT_GNU_HASH
  const ElfW(Half) * versions;  // DT_VERSYM, or nullptr
};

struct Search {
  const char* name;
  uint32_t hash;
  bool is_past_hook;
  void* found;
};

uint32_t gnu_hash(const char* name) {
  uint32_t hash = 5381;
  for (; *name != '\0'; ++name) {
    hash = hash * 33 + static_cast<uint8_t>(*name);
  }
  return hash;
}

// glibc has added the base to these addresses already, others have not.
template <class T>
const T* table_at(const dl_phdr_info& object, ElfW(Addr) address) {
  return reinterpret_cast<const T*>(address < object.dlpi_addr ? object.dlpi_addr + address
                                                               : address);
}

Tables tables_of(const dl_phdr_info& object) {
  Tables tables = {};
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    if (object.dlpi_phdr[i].p_type != PT_DYNAMIC) {
      continue;
    }
    const auto* entry =
        reinterpret_cast<const ElfW(Dyn)*>(object.dlpi_addr + object.dlpi_phdr[i].p_vaddr);
    for (; entry->d_tag != DT_NULL; ++entry) {
      if (entry->d_tag == DT_SYMTAB) {
        tables.symbols = table_at<ElfW(Sym)>(object, entry->d_un.d_ptr);
      } else if (entry->d_tag == DT_STRTAB) {
        tables.names = table_at<char>(object, entry->d_un.d_ptr);
      } else if (entry->d_tag == DT_GNU_HASH) {
        tables.hash = table_at<uint32_t>(object, entry->d_un.d_ptr);
      } else if (entry->d_tag == DT_VERSYM) {
        tables.versions = table_at<ElfW(Half)>(object, entry->d_un.d_ptr);
      }
    }
  }
  return tables;
}

bool is_match(const Tables& tables, uint32_t index, const char* name) {
  constexpr ElfW(Half) kHidden = 0x8000;  // an old version, not the default one
  const ElfW(Sym)& symbol = tables.symbols[index];
  return symbol.st_shndx != SHN_UNDEF && strcmp(tables.names + symbol.st_name, name) == 0 &&
         (tables.versions == nullptr || (tables.versions[index] & kHidden) == 0);
}

// Index of the symbol, or 0.
uint32_t find_index(const Tables& tables, const char* name, uint32_t hash) {
  uint32_t bucket_count = tables.hash[0];
  uint32_t first = tables.hash[1];
  uint32_t bloom_words = tables.hash[2];
  const uint32_t* buckets = tables.hash + 4 + bloom_words * (sizeof(ElfW(Addr)) / sizeof(uint32_t));
  const uint32_t* chain = buckets + bucket_count;
  uint32_t index = bucket_count != 0 ? buckets[hash % bucket_count] : 0;
  if (index < first) {
    return 0;
  }
  for (;; ++index) {
    uint32_t value = chain[index - first];
    if ((value | 1) == (hash | 1) && is_match(tables, index, name)) {
      return index;
    }
    if ((value & 1) != 0) {
      return 0;
    }
  }
}

bool holds_hook(const dl_phdr_info& object) {
  auto here = reinterpret_cast<ElfW(Addr)>(&find_symbol_by_hand);
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object.dlpi_phdr[i];
    ElfW(Addr) begin = object.dlpi_addr + segment.p_vaddr;
    if (segment.p_type == PT_LOAD && here >= begin && here < begin + segment.p_memsz) {
      return true;
    }
  }
  return false;
}

int look_into(dl_phdr_info* object, size_t, void* data) {
  auto* search = static_cast<Search*>(data);
  if (!search->is_past_hook) {
    search->is_past_hook = holds_hook(*object);
    return 0;
  }
  Tables tables = tables_of(*object);
  if (tables.symbols == nullptr || tables.names == nullptr || tables.hash == nullptr) {
    return 0;
  }
  uint32_t index = find_index(tables, search->name, search->hash);
  if (index == 0) {
    return 0;
  }
  const ElfW(Sym)& symbol = tables.symbols[index];
  search->found = reinterpret_cast<void*>(object->dlpi_addr + symbol.st_value);
  if ((symbol.st_info & 0xf) == STT_GNU_IFUNC) {
    search->found = reinterpret_cast<void* (*)()>(search->found)();
  }
  return 1;
}

}  // namespace

void* find_symbol_by_hand(const char* name) {
  if (dl_iterate_phdr == nullptr) {
    return nullptr;
  }
  Search search = {name, gnu_hash(name), false, nullptr};
  dl_iterate_phdr(look_into, &search);
  return search.found;
}

}  // namespace mirrord::hook
