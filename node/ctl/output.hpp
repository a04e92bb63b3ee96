// node/ctl/output: how answers and errors reach the terminal.
//
// Owns:   calling the API with an error message fit for people; printing of one object; the colours of states.
// Used by: the commands.
#pragma once

#include <string>

#include "node/ctl/commands.hpp"
#include "node/ctl/table.hpp"

namespace mailherd::ctl {

/// The answer's JSON. On an error prints it to standard error (field by field; with --json the problem object) and sets `exit`.
std::optional<json> call(context& c, const std::string& method, const std::string& path, const std::optional<json>& body, int& exit,
                         seconds timeout = seconds(60));
/// As `call`, for every page of a list up to `limit` items (0: all).
std::optional<json> call_list(context& c, const std::string& path, std::int64_t limit, int& exit);

void print_json(const json& j);
/// "name:  value" lines; objects inside by dotted names.
void print_object(const json& j, bool colours);
void print_table(const context& c, const table& t);

/// Text of a member, "-" for null or absent. `path` may be dotted: "auth.type".
std::string text_of(const json& j, const std::string& path);
colour colour_of_state(const std::string& state);
/// One line on standard error.
int complain(int exit, const std::string& words);
void print_problem(const context& c, const reply& answer);

}  // namespace mailherd::ctl
