// How each house rule is checked. Text is searched, not parsed: simple enough to trust, strict enough to
// matter.
#include "tests/house/rules.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <set>

namespace peri::house {
namespace {

constexpr int kMaxLines = 600;
constexpr int kMaxReadmeLines = 70;

struct Layer {
  std::string_view name;
  std::vector<std::string_view> may_include;
};

const std::array<Layer, 5> kLayers = {{
    {"core", {"core"}},
    {"planner", {"core", "planner"}},
    {"kernels", {"core", "kernels"}},
    {"cudagraph", {"core", "planner", "kernels", "cudagraph"}},
    {"bindings", {"core", "planner", "kernels", "cudagraph", "bindings"}},
}};

// A library whose headers stay in one folder: no file outside reaches them, directly or through a project
// header.
struct Confined {
  std::string_view library;
  std::string_view folder;
  bool (*is_header)(std::string_view include);
};

bool is_boost(std::string_view include) {
  return include.starts_with("boost/");
}

bool is_cuda(std::string_view include) {
  constexpr std::array<std::string_view, 6> kPrefixes = {
      "cuda", "cublas", "nccl", "nvrtc", "cooperative_groups", "cub/"};
  return std::ranges::any_of(kPrefixes, [&](auto prefix) { return include.starts_with(prefix); }) &&
         !include.starts_with("cudagraph/");
}

bool is_lua(std::string_view include) {
  constexpr std::array<std::string_view, 5> kHeaders = {"lua.h", "lua.hpp", "lualib.h", "lauxlib.h",
                                                        "luajit.h"};
  auto name = include.substr(include.rfind('/') + 1);
  return std::ranges::find(kHeaders, name) != kHeaders.end();
}

const std::array<Confined, 3> kConfined = {{
    {"Boost", "core/", is_boost},
    {"CUDA", "kernels/cuda/", is_cuda},
    {"Lua", "bindings/", is_lua},
}};

struct Include {
  int line;
  std::string path;
};

using Includes = std::map<std::string, std::vector<Include>>;

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    auto end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string_view first_folder(std::string_view path) {
  return path.substr(0, path.find('/'));
}

bool has_extension(std::string_view path, std::initializer_list<std::string_view> extensions) {
  return std::ranges::any_of(extensions, [&](auto extension) { return path.ends_with(extension); });
}

bool is_cpp(std::string_view path) {
  return has_extension(path, {".hpp", ".cpp", ".cuh", ".cu", ".def"});
}

bool is_word_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
}

bool has_word(std::string_view text, std::string_view word) {
  for (auto at = text.find(word); at != text.npos; at = text.find(word, at + 1)) {
    auto end = at + word.size();
    if ((at == 0 || !is_word_character(text[at - 1])) &&
        (end == text.size() || !is_word_character(text[end])))
      return true;
  }
  return false;
}

// The value that a line gives to an environment variable, from its first character on: NAME=1, NAME = 1,
// "NAME", "1", "NAME": "1", ["NAME"] = 1; not NAME == 1.
std::optional<std::string_view> value_set(std::string_view text, std::string_view name) {
  for (auto at = text.find(name); at != text.npos; at = text.find(name, at + 1)) {
    auto rest = text.substr(at + name.size());
    const bool quoted = rest.starts_with('"') || rest.starts_with('\'');
    rest.remove_prefix(std::min(rest.find_first_not_of("\"'] "), rest.size()));
    if (!rest.starts_with(',') && !(quoted && rest.starts_with(':')) &&
        !(rest.starts_with('=') && !rest.starts_with("==")))
      continue;
    rest.remove_prefix(std::min(rest.find_first_not_of(",:=\"' "), rest.size()));
    return rest;
  }
  return std::nullopt;
}

std::vector<Include> includes_of(std::string_view text) {
  std::vector<Include> includes;
  const std::string blanked_text = blank_comments_and_literals(text);
  auto raw = lines_of(text);
  auto blanked = lines_of(blanked_text);
  for (size_t i = 0; i < blanked.size(); ++i) {
    auto hash = blanked[i].find_first_not_of(" \t");
    if (hash == blanked[i].npos || blanked[i][hash] != '#' || !has_word(blanked[i], "include")) continue;
    auto open = raw[i].find_first_of("<\"");
    if (open == raw[i].npos) continue;
    auto close = raw[i].find(raw[i][open] == '<' ? '>' : '"', open + 1);
    if (close != raw[i].npos)
      includes.push_back({static_cast<int>(i + 1), std::string(raw[i].substr(open + 1, close - open - 1))});
  }
  return includes;
}

// The first of the headers of such a library that a file reaches, as the chain of includes that leads to it.
std::optional<std::string> reach(const Includes& includes, const std::string& path, const Confined& confined,
                                 std::set<std::string>& seen) {
  auto found = includes.find(path);
  if (found == includes.end() || !seen.insert(path).second) return std::nullopt;
  for (const auto& include : found->second) {
    if (confined.is_header(include.path)) return include.path;
    if (auto chain = reach(includes, include.path, confined, seen)) return include.path + " -> " + *chain;
  }
  return std::nullopt;
}

// The backends stand on what kernels/ has in common, and know nothing of each other.
void check_backends(const std::string& path, const Include& include, std::vector<Violation>& out) {
  for (std::string_view backend : {"kernels/host/", "kernels/cuda/"})
    if (path.starts_with("kernels/") && !path.starts_with(backend) && include.path.starts_with(backend))
      out.push_back({path, include.line, "a backend is included by itself only: " + include.path});
}

void check_includes(const Includes& includes, std::vector<Violation>& out) {
  for (const auto& [path, list] : includes) {
    auto layer = std::ranges::find(kLayers, first_folder(path), &Layer::name);
    for (const auto& include : list) {
      auto to = first_folder(include.path);
      bool is_layer = include.path.find('/') != include.path.npos &&
                      std::ranges::find(kLayers, to, &Layer::name) != kLayers.end();
      if (layer == kLayers.end()) continue;
      check_backends(path, include, out);
      if (is_layer && std::ranges::find(layer->may_include, to) == layer->may_include.end())
        out.push_back({path, include.line, "a layer includes only layers below it: " + include.path});
      if (to == "tests")
        out.push_back({path, include.line, "a layer includes nothing of the tests: " + include.path});
    }
    if (path.starts_with("scripts/bench/peers/")) continue;  // what we are measured against, in its own words
    for (const auto& confined : kConfined) {
      std::set<std::string> seen;
      if (path.starts_with(confined.folder) || path.starts_with("tests/" + std::string(confined.folder)))
        continue;
      if (auto chain = reach(includes, path, confined, seen))
        out.push_back({path, 0,
                       std::string(confined.library) + " headers stay in " + std::string(confined.folder) +
                           ": " + *chain});
    }
  }
}

// NVLink multicast can put GPUs out of service that others share. So nobody turns it on but the user, who
// sets a variable that nobody here sets, and whoever forbids it is left alone.
void check_environment(const std::string& path, int line, std::string_view text,
                       std::vector<Violation>& out) {
  constexpr std::string_view kAsks = "PERI_MULTICAST";
  constexpr std::array<std::pair<std::string_view, char>, 3> kForbids = {
      {{"NCCL_NVLS_ENABLE", '0'}, {"TORCH_SYMM_MEM_DISABLE_MULTICAST", '1'}, {"NVSHMEM_DISABLE_NVLS", '1'}}};
  if (value_set(text, kAsks)) out.push_back({path, line, "nobody but the user sets PERI_MULTICAST"});
  for (const auto& [name, forbidding] : kForbids) {
    const auto value = value_set(text, name);
    const bool unset = (has_word(text, "unset") || has_word(text, "unsetenv")) && has_word(text, name);
    if (unset || (value && !value->starts_with(forbidding)))
      out.push_back({path, line, "what forbids multicast stays set: " + std::string(name)});
  }
}

// The driver's functions for multicast objects are named in one file, and the one that creates an object in
// one function of it, whose first statement is the gate. By name alone, so also in comments and literals.
void check_multicast(const std::string& path, std::string_view text, std::vector<Violation>& out) {
  constexpr std::string_view kFamily = "cuMulticast", kCreates = "cuMulticastCreate";
  constexpr std::string_view kGate = "  PERI_TRY(check_multicast(gpu));";
  if (path == "tests/house/rules.cpp") return;  // this one
  const bool is_gate = path == "kernels/cuda/symmetric/multicast.cpp";
  const auto lines = lines_of(text);
  size_t begin = 0;    // of the function, or what else stands in the first column, that a line is in
  size_t creator = 0;  // the function that creates objects; 0 is the file's first line, which is none
  for (size_t i = 0; i < lines.size(); ++i) {
    if (!lines[i].empty() && lines[i].front() != ' ' && lines[i].front() != '}') begin = i;
    if (lines[i].find(kFamily) == std::string_view::npos) continue;
    const int line = static_cast<int>(i + 1);
    if (!is_gate)
      out.push_back(
          {path, line, "multicast objects are the business of kernels/cuda/symmetric/multicast.cpp alone"});
    if (!is_gate || lines[i].find(kCreates) == std::string_view::npos) continue;
    if (creator == 0) creator = begin;
    if (begin == 0 || begin != creator || !lines[begin].ends_with('{') || lines[begin + 1] != kGate)
      out.push_back({path, line, "one function creates multicast objects, and asks check_multicast first"});
  }
}

// Who runs the tests may have asked for multicast for something else: what starts programs on GPUs clears
// that.
void check_tests_clear_multicast(const std::string& path, std::string_view text,
                                 std::vector<Violation>& out) {
  const bool is_script =
      (path.starts_with("tests/cuda/") || path.starts_with("tests/e2e/")) && path.find('.') == path.npos;
  const bool is_program = path == "tests/main.cpp" ||
                          ((path.starts_with("tests/cuda/") || path.starts_with("tests/kernels/cuda/")) &&
                           text.contains("int main("));
  if (!is_script && !is_program) return;
  for (std::string_view line : lines_of(text)) {
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    for (const char* clears : {"unset ", "unsetenv(\"", "os.unsetenv(\""})
      if (line.starts_with(clears + std::string("PERI_MULTICAST"))) return;
  }
  out.push_back({path, 0, "tests on GPUs clear PERI_MULTICAST before anything else"});
}

void check_words(const std::string& path, std::string_view text, std::vector<Violation>& out) {
  const bool one_environment_file = path == "core/env.cpp" || path == "core/env.hpp";
  // Documents say what a user may set; env_test feeds the reader of the environment from a map.
  const bool sets_nothing = path.ends_with(".md") || path == "tests/core/env_test.cpp";
  const std::string blanked_text = is_cpp(path) ? blank_comments_and_literals(text) : std::string(text);
  auto raw = lines_of(text);
  auto code = lines_of(blanked_text);
  for (size_t i = 0; i < code.size(); ++i) {
    const int line = static_cast<int>(i + 1);
    if (is_cpp(path) && has_word(code[i], "throw"))
      out.push_back({path, line, "project code returns a Result instead of throwing"});
    if (!one_environment_file && (has_word(code[i], "getenv") || has_word(code[i], "secure_getenv")))
      out.push_back({path, line, "environment variables are read in core/env.cpp only"});
    if (!sets_nothing) check_environment(path, line, raw[i], out);
  }
}

void check_shape(const std::string& path, std::string_view text, std::vector<Violation>& out) {
  const auto lines = static_cast<int>(std::ranges::count(text, '\n'));
  const bool readme = path.ends_with("README.md");
  if (readme && path != "README.md" && lines > kMaxReadmeLines)
    out.push_back({path, 0, "a layer's README is at most a page: " + std::to_string(lines) + " lines"});
  if (!readme && lines > kMaxLines)
    out.push_back({path, 0, "past 600 lines a file is two things: " + std::to_string(lines) + " lines"});
  // The backends are folders of their own within kernels/.
  const bool backend = path.starts_with("kernels/host/") || path.starts_with("kernels/cuda/");
  const int levels = backend ? 2 : 1;
  auto slashes = std::ranges::count(path, '/');
  if (std::ranges::find(kLayers, first_folder(path), &Layer::name) != kLayers.end() && slashes > levels + 1)
    out.push_back({path, 0, "folders are nested too deep"});
}

// Where the string literal that opens at `at` ends (the position after its last quote).
size_t end_of_literal(std::string_view text, size_t at) {
  if (at > 0 && text[at] == '"' && text[at - 1] == 'R') {
    auto open = text.find('(', at);
    if (open == text.npos) return text.size();
    auto close = ")" + std::string(text.substr(at + 1, open - at - 1)) + "\"";
    auto end = text.find(close, open);
    return end == text.npos ? text.size() : end + close.size();
  }
  for (size_t i = at + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == text[at] || text[i] == '\n') {
      return i + 1;
    }
  }
  return text.size();
}

}  // namespace

std::string blank_comments_and_literals(std::string_view text) {
  std::string out(text);
  auto blank = [&](size_t from, size_t to) {
    for (size_t i = from; i < std::min(to, out.size()); ++i)
      if (out[i] != '\n') out[i] = ' ';
  };
  for (size_t i = 0; i < text.size();) {
    size_t end = i + 1;
    if (text.substr(i).starts_with("//")) {
      end = std::min(text.find('\n', i), text.size());
      blank(i, end);
    } else if (text.substr(i).starts_with("/*")) {
      auto close = text.find("*/", i + 2);
      end = close == text.npos ? text.size() : close + 2;
      blank(i, end);
    } else if (text[i] == '"' || (text[i] == '\'' && (i == 0 || !is_word_character(text[i - 1])))) {
      end = end_of_literal(text, i);  // a quote after a digit separates digits
      blank(i, end);
    }
    i = end;
  }
  return out;
}

std::vector<Violation> check(const Tree& tree) {
  std::vector<Violation> out;
  Includes includes;
  for (const auto& [path, text] : tree) {
    if (is_cpp(path)) includes[path] = includes_of(text);
    check_words(path, text, out);
    check_multicast(path, text, out);
    check_tests_clear_multicast(path, text, out);
    check_shape(path, text, out);
  }
  check_includes(includes, out);
  std::ranges::stable_sort(out, {}, &Violation::path);
  return out;
}

}  // namespace peri::house
