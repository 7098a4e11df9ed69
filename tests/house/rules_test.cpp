// The house rules hold in this repository, and each of them can fail.
#include "tests/house/rules.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

namespace fs = std::filesystem;
using peri::house::check;
using peri::house::Tree;

namespace {

constexpr const char* kFolders[] = {"core",     "planner", "kernels", "cudagraph",
                                    "bindings", "tests",   "scripts", ".ci"};

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Sources, scripts and READMEs; not data, and not the goldens, which are as long as what they record.
bool is_source(const fs::path& path) {
  static const std::set<std::string> kExtensions = {".hpp", ".cpp", ".cuh", ".cu", ".def",
                                                    ".lua", ".md",  ".txt", ""};
  return kExtensions.contains(path.extension().string()) &&
         (path.extension() != ".txt" || path.filename() == "CMakeLists.txt");
}

Tree repository() {
  const fs::path root = PERI_SOURCE_DIR;
  Tree tree;
  for (const char* folder : kFolders) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (!entry.is_regular_file() || !is_source(entry.path())) continue;
      auto path = fs::relative(entry.path(), root).string();
      // The samples below break the rules on purpose.
      if (path != "tests/house/rules_test.cpp") tree[path] = read(entry.path());
    }
  }
  return tree;
}

// The paths and lines that break a rule, as "path:line".
std::vector<std::string> broken(const Tree& tree) {
  std::vector<std::string> out;
  for (const auto& violation : check(tree))
    out.push_back(violation.path + ":" + std::to_string(violation.line));
  return out;
}

using Places = std::vector<std::string>;

}  // namespace

TEST_CASE("the repository keeps the house rules") {
  auto tree = repository();
  CHECK(tree.size() > 20);
  for (const auto& [path, line, what] : check(tree)) FAIL_CHECK(path << ":" << line << ": " << what);
}

TEST_CASE("nothing else stands at the top level") {
  const std::set<std::string> allowed = {"core",      "planner",        "kernels",
                                         "cudagraph", "bindings",       "scripts",
                                         "tests",     "CMakeLists.txt", "CMakePresets.json",
                                         "README.md", "LICENSE",        "build",
                                         "shared"};  // the last two are ignored by git
  for (const auto& entry : fs::directory_iterator(PERI_SOURCE_DIR)) {
    auto name = entry.path().filename().string();
    if (!name.starts_with('.') && !allowed.contains(name)) FAIL_CHECK(name << " stands at the top level");
  }
}

TEST_CASE("every floor opens with a README") {
  for (const char* floor : {"core", "planner", "kernels", "cudagraph", "bindings"})
    CHECK(fs::exists(fs::path(PERI_SOURCE_DIR) / floor / "README.md"));
}

TEST_CASE("an include that points up a floor is found") {
  CHECK(broken({{"core/a.hpp", "#include \"core/b.hpp\"\n"}}).empty());
  CHECK(broken({{"core/a.hpp", "\n#include \"planner/b.hpp\"\n"}}) == Places{"core/a.hpp:2"});
  CHECK(broken({{"planner/a.cpp", "#include \"kernels/b.hpp\"\n"}}) == Places{"planner/a.cpp:1"});
  CHECK(broken({{"kernels/a.cpp", "#  include \"planner/b.hpp\"  // why\n"}}) == Places{"kernels/a.cpp:1"});
  CHECK(broken({{"cudagraph/a.cpp", "#include \"bindings/b.hpp\"\n"}}) == Places{"cudagraph/a.cpp:1"});
  CHECK(broken({{"bindings/a.cpp", "#include \"cudagraph/b.hpp\"\n#include \"core/c.hpp\"\n"}}).empty());
  CHECK(broken({{"bindings/a.cpp", "#include \"tests/b.hpp\"\n"}}) == Places{"bindings/a.cpp:1"});
  CHECK(broken({{"core/a.hpp", "// #include \"planner/b.hpp\"\n"}}).empty());
}

TEST_CASE("a library's headers are found outside its room, also through a project header") {
  CHECK(broken({{"core/a.cpp", "#include <boost/graph/adjacency_list.hpp>\n"}}).empty());
  CHECK(broken({{"planner/a.cpp", "#include <boost/config.hpp>\n"}}) == Places{"planner/a.cpp:0"});
  CHECK(broken({{"core/g.hpp", "#include <boost/config.hpp>\n"},
                {"planner/a.cpp", "#include \"core/g.hpp\"\n"}}) == Places{"planner/a.cpp:0"});
  CHECK(broken({{"kernels/cuda/a.cpp", "#include <cuda_runtime.h>\n"}}).empty());
  CHECK(broken({{"cudagraph/a.cpp", "#include <cuda.h>\n"}}) == Places{"cudagraph/a.cpp:0"});
  CHECK(broken({{"scripts/a.cu", "#include <nccl.h>\n"}}) == Places{"scripts/a.cu:0"});
  CHECK(broken({{"scripts/bench/peers/a.cu", "#include <nccl.h>\n"}}).empty());
  CHECK(broken({{"cudagraph/a.cpp", "#include \"cudagraph/partition.hpp\"\n"}}).empty());
  CHECK(broken({{"bindings/a.cpp", "#include <lua.hpp>\n"}}).empty());
  CHECK(broken({{"core/a.cpp", "#include <luajit-2.1/lua.hpp>\n"}}) == Places{"core/a.cpp:0"});
}

TEST_CASE("forbidden words are found in code, not in comments and strings") {
  CHECK(broken({{"core/a.cpp", "throw 1;\n"}}) == Places{"core/a.cpp:1"});
  CHECK(broken({{"core/a.cpp", "// throw\n/* throw\n throw */ f(\"throw\", R\"x(throw\")x\", '\"');\n"}})
            .empty());
  CHECK(broken({{"core/a.cpp", "int n = 1'000; throw n; int m = 2'000;\n"}}) == Places{"core/a.cpp:1"});
  CHECK(broken({{"core/a.cpp", "int throws;\n"}}).empty());
  CHECK(broken({{"core/env.cpp", "std::getenv(\"A\");\n"}}).empty());
  CHECK(broken({{"kernels/env.cpp", "std::getenv(\"A\");\n"}}) == Places{"kernels/env.cpp:1"});
  CHECK(broken({{"scripts/a.lua", "local a = os.getenv(\"A\")\n"}}) == Places{"scripts/a.lua:1"});
}

TEST_CASE("multicast is never turned on by a test, a benchmark or a script") {
  CHECK(broken({{"tests/kernels/a.cpp", "cuMulticastCreate(&h, &p);\n"}}) == Places{"tests/kernels/a.cpp:1"});
  CHECK(broken({{"tests/kernels/a.cpp", "setenv(\"PERI_MULTICAST\", \"1\", 1);\n"}}) ==
        Places{"tests/kernels/a.cpp:1"});
  CHECK(broken({{"scripts/test", "PERI_MULTICAST=1 ctest\n"}}) == Places{"scripts/test:1"});
  CHECK(broken({{"scripts/a.lua", "env[\"PERI_MULTICAST\"] = 1\n"}}) == Places{"scripts/a.lua:1"});
  CHECK(broken({{"scripts/a.lua", "-- PERI_MULTICAST is off here\n"}}).empty());
  CHECK(broken({{"tests/kernels/a.cpp", "unsetenv(\"PERI_MULTICAST\");\n"}}).empty());
}

TEST_CASE("a file that is too long or too deep is found") {
  CHECK(broken({{"core/a.cpp", std::string(600, '\n')}}).empty());
  CHECK(broken({{"core/a.cpp", std::string(601, '\n')}}) == Places{"core/a.cpp:0"});
  CHECK(broken({{"core/README.md", std::string(71, '\n')}}) == Places{"core/README.md:0"});
  CHECK(broken({{"core/a/b.cpp", ""}}).empty());
  CHECK(broken({{"core/a/b/c.cpp", ""}}) == Places{"core/a/b/c.cpp:0"});
}
