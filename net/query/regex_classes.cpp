// net/query/regex_classes.cpp — classes of characters: Unicode's definitions as Rust takes them.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

#include "net/query/regex_dialect.h"

namespace mirrord::net {
namespace {

// \w by UTS #18 annex C; ASCII's part first, which PCRE2 finds in a bit map.
constexpr std::string_view kWord = R"(\w\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200c}\x{200d})";
constexpr std::string_view kSpace =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kHex = "0-9A-Fa-f";

struct Category {
  std::string_view long_name, short_name;  // without case, blanks, hyphens and underscores
};
constexpr auto kCategories = std::to_array<Category>({
    {"other", "C"},
    {"control", "Cc"},
    {"cntrl", "Cc"},
    {"format", "Cf"},
    {"unassigned", "Cn"},
    {"privateuse", "Co"},
    {"surrogate", "Cs"},
    {"letter", "L"},
    {"casedletter", "L&"},
    {"lc", "L&"},
    {"lowercaseletter", "Ll"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"titlecaseletter", "Lt"},
    {"uppercaseletter", "Lu"},
    {"mark", "M"},
    {"combiningmark", "M"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"nonspacingmark", "Mn"},
    {"number", "N"},
    {"decimalnumber", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"punctuation", "P"},
    {"punct", "P"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"closepunctuation", "Pe"},
    {"finalpunctuation", "Pf"},
    {"initialpunctuation", "Pi"},
    {"otherpunctuation", "Po"},
    {"openpunctuation", "Ps"},
    {"symbol", "S"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"mathsymbol", "Sm"},
    {"othersymbol", "So"},
    {"separator", "Z"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
    {"spaceseparator", "Zs"},
});

std::string plain(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c >= 'A' && c <= 'Z')
      out += static_cast<char>(c - 'A' + 'a');
    else if (c != ' ' && c != '_' && c != '-')
      out += c;
  }
  return out;
}

bool is_word(std::string_view name) {
  for (const char c : name) {
    if ((c < 'a' || c > 'z') && (c < '0' || c > '9'))
      return false;
  }
  return !name.empty();
}

// Whether PCRE2's tables have the property.
bool is_known(const std::string& property) {
  const std::string pattern = "\\p{" + property + "}";
  int code = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                       PCRE2_UTF, &code, &at, nullptr);
  pcre2_code_free(compiled);
  return compiled != nullptr;
}

std::string category(const std::string& name) {
  for (const Category& each : kCategories) {
    if (name == each.long_name || name == plain(each.short_name))
      return std::string(each.short_name);
  }
  return {};
}

std::string known_script(std::string_view key, const std::string& name) {
  const std::string property = std::string(key) + ":" + name;
  return is_known(property) ? property : "";
}

std::string property_of(std::string_view written) {
  const std::size_t equals = written.find_first_of("=:");
  std::string name = plain(written.substr(equals == std::string_view::npos ? 0 : equals + 1));
  if (!is_word(name))
    return {};
  if (equals != std::string_view::npos) {
    const std::string key = plain(written.substr(0, equals));
    if (key == "gc" || key == "generalcategory")
      return category(name);
    if (key == "sc" || key == "script")
      return known_script("sc", name);
    if (key == "scx" || key == "scriptextensions")
      return known_script("scx", name);
    return {};
  }
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (name == "any")
      return "Any";
    if (std::string found = category(name); !found.empty())
      return found;
    if (std::string script = known_script("sc", name); !script.empty())
      return script;
    if (name.size() > 2 && is_known(name))
      return name;
    if (!name.starts_with("is"))
      break;
    name.erase(0, 2);
  }
  return {};
}

}  // namespace

std::string unicode_property(std::string_view name, bool is_negated) {
  if (const std::size_t unequal = name.find("!="); unequal != std::string_view::npos) {
    return unicode_property(
        std::string(name.substr(0, unequal)) + "=" + std::string(name.substr(unequal + 2)),
        !is_negated);
  }
  if (plain(name) == "ascii")
    return is_negated ? "[:^ascii:]" : "[:ascii:]";
  if (plain(name) == "assigned")
    return is_negated ? "\\p{Cn}" : "\\P{Cn}";
  const std::string property = property_of(name);
  if (property.empty())
    return {};
  return (is_negated ? "\\P{" : "\\p{") + property + "}";
}

CharacterSet shorthand(char letter) {
  switch (letter) {
    case 'd':
      return {"\\p{Nd}"};
    case 'D':
      return {"\\P{Nd}"};
    case 'h':
      return {std::string(kHex)};
    case 's':
      return {std::string(kSpace)};
    case 'w':
      return {std::string(kWord)};
    default: {
      const std::string_view inner = letter == 'H' ? kHex : letter == 'S' ? kSpace : kWord;
      return {"[^" + std::string(inner) + "]", false};
    }
  }
}

std::string quoted_character(char32_t code) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const bool is_alphanumeric = (code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z') ||
                               (code >= 'a' && code <= 'z') || code == '_';
  if (is_alphanumeric)
    return {static_cast<char>(code)};
  std::string digits;
  for (; code != 0 || digits.empty(); code >>= 4)
    digits.insert(digits.begin(), kDigits[code & 0xF]);
  return "\\x{" + digits + "}";
}

}  // namespace mirrord::net
