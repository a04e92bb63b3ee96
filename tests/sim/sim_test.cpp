// A cluster in which everything fails, over many seeds; see simulation.hpp. SIM_SEED=<n>: that one alone, with its story; SIM_SEEDS=<n>: so many.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "tests/sim/simulation.hpp"

namespace mailherd::sim {
namespace {

std::string joined(const std::vector<std::string>& all) {
  std::string out;
  for (const auto& one : all) out += "\n  " + one;
  return out;
}

TEST(simulated_cluster, loses_nothing_stores_nothing_twice_and_heals) {
  const char* one = std::getenv("SIM_SEED");
  const char* many = std::getenv("SIM_SEEDS");
  const std::uint64_t seeds = one ? 1 : many ? std::strtoull(many, nullptr, 10) : 12;
  std::map<std::string, double> seen;
  for (std::uint64_t i = 1; i <= seeds; ++i) {
    const auto seed = one ? std::strtoull(one, nullptr, 10) : i;
    simulation s(seed);
    s.run();
    for (const char* what : {"drain ok", "move ok", "rebalance ok", "gaps", "fenced", "stored"}) seen[what] += s.count(what);
    if (one || !s.findings().empty()) std::fputs(s.story().c_str(), stderr);
    ASSERT_TRUE(s.findings().empty()) << "SIM_SEED=" << seed << joined(s.findings());
    if (many && i % 100 == 0) std::printf("%llu of %llu seeds\n", static_cast<unsigned long long>(i), static_cast<unsigned long long>(seeds));
  }
  if (one) return;
  for (const auto& [what, n] : seen) {
    std::printf("%s: %.0f\n", what.c_str(), n);
    if (what != "fenced" && what != "rebalance ok") {
      EXPECT_GT(n, 0) << what << " never happened: the faults do not reach it";
    }
  }
}

TEST(simulated_cluster, repeats_a_seed_exactly) {
  const auto trace = [](std::uint64_t seed) {
    faults few;
    few.steps = 25;
    simulation s(seed, few);
    s.run();
    return std::pair{s.trace(), s.count("stored")};
  };
  EXPECT_EQ(trace(77), trace(77));
  EXPECT_NE(trace(77).first, trace(78).first);
}

}  // namespace
}  // namespace mailherd::sim
