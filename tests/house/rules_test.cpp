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
                                                    ".lua", ".md",  ".txt", ".py", ""};
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
  for (const char* file : {"CMakeLists.txt", "CMakePresets.json", "README.md"})
    tree[file] = read(root / file);
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

TEST_CASE("every layer opens with a README") {
  for (const char* layer : {"core", "planner", "kernels", "cudagraph", "bindings"})
    CHECK(fs::exists(fs::path(PERI_SOURCE_DIR) / layer / "README.md"));
}

TEST_CASE("an include that points up a layer is found") {
  CHECK(broken({{"core/a.hpp", "#include \"core/b.hpp\"\n"}}).empty());
  CHECK(broken({{"core/a.hpp", "\n#include \"planner/b.hpp\"\n"}}) == Places{"core/a.hpp:2"});
  CHECK(broken({{"planner/a.cpp", "#include \"kernels/b.hpp\"\n"}}) == Places{"planner/a.cpp:1"});
  CHECK(broken({{"kernels/job/a.cpp", "#include \"kernels/host/b.hpp\"\n"}}) ==
        Places{"kernels/job/a.cpp:1"});
  CHECK(broken({{"kernels/cuda/a.cpp", "#include \"kernels/host/b.hpp\"\n"}}) ==
        Places{"kernels/cuda/a.cpp:1"});
  CHECK(broken({{"kernels/host/a.cpp", "#include \"kernels/host/b.hpp\"\n"}}).empty());
  CHECK(broken({{"kernels/a.cpp", "#  include \"planner/b.hpp\"  // why\n"}}) == Places{"kernels/a.cpp:1"});
  CHECK(broken({{"cudagraph/a.cpp", "#include \"bindings/b.hpp\"\n"}}) == Places{"cudagraph/a.cpp:1"});
  CHECK(broken({{"bindings/a.cpp", "#include \"cudagraph/b.hpp\"\n#include \"core/c.hpp\"\n"}}).empty());
  CHECK(broken({{"bindings/a.cpp", "#include \"tests/b.hpp\"\n"}}) == Places{"bindings/a.cpp:1"});
  CHECK(broken({{"core/a.hpp", "// #include \"planner/b.hpp\"\n"}}).empty());
}

TEST_CASE("a library's headers are found outside its folder, also through a project header") {
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

TEST_CASE("multicast objects are created in one place, behind the gate") {
  const std::string gate = "kernels/cuda/symmetric/multicast.cpp";
  const std::string gated =
      "// The one.\n"
      "Result<Handle> create_object(int gpu) {\n"
      "  PERI_TRY(check_multicast(gpu));\n"
      "  auto create = f<decltype(&cuMulticastCreate)>(\"cuMulticastCreate\");\n"
      "}\n";
  CHECK(broken({{gate, gated}}).empty());
  // Elsewhere, in whatever way.
  for (const char* path :
       {"tests/kernels/a.cpp", "tests/kernels/cuda/multicast.cpp", "scripts/a.lua", "scripts/bench/a.py",
        "scripts/test", "kernels/cuda/symmetric/multicast.hpp", "kernels/cuda/memory/device.cpp",
        "kernels/cuda/multicast_bench.cpp", "README.md"}) {
    CHECK(broken({{path, "cuMulticastCreate(&h, &p);\n"}}) == Places{std::string(path) + ":1"});
    CHECK(broken({{path, "\n  look_up(\"cuMulticastCreate\", f); // cuMulticastBindMem\n"}}) ==
          Places{std::string(path) + ":2"});
    CHECK(broken({{path, "driver.cuMulticastAddDevice_\n"}}) == Places{std::string(path) + ":1"});
  }
  // In the right file: no gate, a gate too late, in a comment, of another name or that is not asked.
  auto with = [&](const std::string& first) {
    std::string text = gated;
    const std::string gate = "  PERI_TRY(check_multicast(gpu));\n";
    return text.replace(text.find(gate), gate.size(), first);
  };
  CHECK(broken({{gate, with("")}}) == Places{gate + ":3"});
  CHECK(broken({{gate, with("  int a;\n  PERI_TRY(check_multicast(gpu));\n")}}) == Places{gate + ":5"});
  CHECK(broken({{gate, with("  // PERI_TRY(check_multicast(gpu));\n")}}) == Places{gate + ":4"});
  CHECK(broken({{gate, with("  PERI_TRY(check_multicast_not(gpu));\n")}}) == Places{gate + ":4"});
  CHECK(broken({{gate, with("  if (gpu) PERI_TRY(check_multicast(gpu));\n")}}) == Places{gate + ":4"});
  // A second function, gated or not, and what stands in none.
  CHECK(broken({{gate, gated + gated}}) == Places{gate + ":9"});
  CHECK(broken({{gate, gated + "void g() {\n  cuMulticastCreate(&h, &p);\n}\n"}}) == Places{gate + ":7"});
  CHECK(broken({{gate, "#define CREATE cuMulticastCreate\n" + gated}}) == Places{gate + ":1"});
  CHECK(broken({{gate, gated + "auto create = cuMulticastCreate;\n"}}) == Places{gate + ":6"});
  CHECK(broken({{gate, gated + "void g() {\n  cuMulticastUnbind(h);\n}\n"}}).empty());
}

TEST_CASE("multicast is turned on by nobody but the user") {
  CHECK(broken({{"tests/kernels/a.cpp", "setenv(\"PERI_MULTICAST\", \"1\", 1);\n"}}) ==
        Places{"tests/kernels/a.cpp:1"});
  CHECK(broken({{"bindings/a.cpp", "set(\"PERI_MULTICAST\", \"1\");\n"}}) == Places{"bindings/a.cpp:1"});
  CHECK(broken({{"CMakePresets.json", "\"PERI_MULTICAST\": \"1\"\n"}}) == Places{"CMakePresets.json:1"});
  CHECK(broken({{"scripts/a.py", "env = {'PERI_MULTICAST': '1'}\n"}}) == Places{"scripts/a.py:1"});
  CHECK(broken({{".ci/run", "export NCCL_NVLS_ENABLE=1\n"}}) == Places{".ci/run:1"});
  CHECK(broken({{".ci/run", "export NCCL_NVLS_ENABLE=0 NVSHMEM_DISABLE_NVLS=1\n"}}).empty());
  CHECK(broken({{"scripts/test", "unset TORCH_SYMM_MEM_DISABLE_MULTICAST\n"}}) == Places{"scripts/test:1"});
  CHECK(broken({{"scripts/a.py", "env = {\"TORCH_SYMM_MEM_DISABLE_MULTICAST\": \"0\"}\n"}}) ==
        Places{"scripts/a.py:1"});
  CHECK(broken({{"scripts/test", "NVSHMEM_DISABLE_NVLS=0 ./a\n"}}) == Places{"scripts/test:1"});
  CHECK(broken({{"scripts/a.py", "if env[\"NCCL_NVLS_ENABLE\"] == \"2\":\n"}}).empty());
  CHECK(broken({{"scripts/test", "PERI_MULTICAST=1 ctest\n"}}) == Places{"scripts/test:1"});
  CHECK(broken({{"scripts/a.lua", "env[\"PERI_MULTICAST\"] = 1\n"}}) == Places{"scripts/a.lua:1"});
  CHECK(broken({{"scripts/a.lua", "-- PERI_MULTICAST is off here\n"}}).empty());
  CHECK(broken({{"tests/kernels/a.cpp", "unsetenv(\"PERI_MULTICAST\");\n"}}).empty());
}

TEST_CASE("tests on GPUs clear the user's wish for multicast") {
  for (const char* path : {"tests/cuda/a", "tests/e2e/a"}) {
    CHECK(broken({{path, "unset PERI_MULTICAST  # off\n"}}).empty());
    CHECK(broken({{path, "os.unsetenv(\"PERI_MULTICAST\")\n"}}).empty());
    CHECK(broken({{path, "# unset PERI_MULTICAST\n"}}) == Places{std::string(path) + ":0"});
    CHECK(broken({{path, "peri run a.lua\n"}}) == Places{std::string(path) + ":0"});
  }
  for (const char* path : {"tests/cuda/a.cpp", "tests/kernels/cuda/a.cpp"}) {
    CHECK(broken({{path, "int main() {\n  unsetenv(\"PERI_MULTICAST\");\n}\n"}}).empty());
    CHECK(broken({{path, "int main() {}\n"}}) == Places{std::string(path) + ":0"});
    CHECK(broken({{path, "int a;\n"}}).empty());
  }
  CHECK(broken({{"tests/main.cpp", "#define CATCH_CONFIG_MAIN\n"}}) == Places{"tests/main.cpp:0"});
  CHECK(broken({{"tests/cuda/a.lua", ""}, {"tests/core/a.cpp", "int main() {}\n"}}).empty());
}

TEST_CASE("a file that is too long or too deep is found") {
  CHECK(broken({{"core/a.cpp", std::string(600, '\n')}}).empty());
  CHECK(broken({{"core/a.cpp", std::string(601, '\n')}}) == Places{"core/a.cpp:0"});
  CHECK(broken({{"core/README.md", std::string(71, '\n')}}) == Places{"core/README.md:0"});
  CHECK(broken({{"core/a/b.cpp", ""}}).empty());
  CHECK(broken({{"core/a/b/c.cpp", ""}}) == Places{"core/a/b/c.cpp:0"});
}
