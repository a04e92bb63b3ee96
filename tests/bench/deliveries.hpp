// tests/bench/deliveries: webhooks to a fast receiver, beside one that hangs, and the feed read through the API.
//
// Owns:   a node, receivers on loopback, mail that is written into the database as a commit does (no mail server takes part).
// Never:  judges: the runner's `judge` does.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

namespace mailherd::bench {

using judge_function = std::function<void(std::string what, double measured, std::string unit, double target, bool at_least)>;

void webhooks(double scale, const judge_function& judge);
void feed(double scale, const judge_function& judge);

}  // namespace mailherd::bench
