// api/json_input: parsing with position and typed access; see the header.
#include "api/json_input.hpp"

#include <fmt/format.h>

#include "core/limits.hpp"
#include "core/server_text.hpp"

namespace mailherd::api {

namespace {

std::string place(std::string_view body, std::size_t offset) {
  offset = std::min(offset, body.size());
  std::size_t line = 1, column = 1;
  for (std::size_t i = 0; i < offset; ++i) {
    if (body[i] == '\n') {
      ++line;
      column = 1;
    } else if ((static_cast<unsigned char>(body[i]) & 0xC0) != 0x80) {
      ++column;
    }
  }
  return fmt::format("line {}, column {}", line, column);
}

std::optional<std::size_t> first_bad_utf8(std::string_view body) {
  for (std::size_t i = 0; i < body.size();) {
    const auto length = utf8_sequence(body.substr(i));
    if (length == 0) return i;
    i += length;
  }
  return std::nullopt;
}

// Offset of the bracket that goes too deep. Runs before the parser, so that it never sees such a text.
std::optional<std::size_t> too_deep(std::string_view body) {
  std::size_t depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (quoted) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > limits::api_json_depth) return i;
    } else if (c == '}' || c == ']') {
      if (depth > 0) --depth;
    }
  }
  return std::nullopt;
}

const char* kind_of(const json& j) {
  switch (j.type()) {
    case json::value_t::null: return "null";
    case json::value_t::object: return "an object";
    case json::value_t::array: return "a list";
    case json::value_t::string: return "a text";
    case json::value_t::boolean: return "true or false";
    default: return "a number";
  }
}

}  // namespace

result<json> parse_object(std::string_view body) {
  const auto malformed = [&](std::size_t at, std::string_view what) {
    return fail(failure::invalid_input, fmt::format("{} at {}", what, place(body, at)));
  };
  if (const auto bad = first_bad_utf8(body)) return malformed(*bad, "the body is not valid UTF-8");
  if (const auto deep = too_deep(body))
    return malformed(*deep, fmt::format("more than {} objects or lists inside each other", limits::api_json_depth));
  std::vector<std::set<std::string>> names;
  std::string repeated;
  const auto watch = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) names.emplace_back();
    if (event == json::parse_event_t::object_end && !names.empty()) names.pop_back();
    if (event == json::parse_event_t::key && !names.empty() && !names.back().insert(parsed.get<std::string>()).second)
      repeated = parsed.get<std::string>();
    return true;
  };
  try {
    auto parsed = json::parse(body, watch);
    if (!repeated.empty())
      return fail(failure::invalid_input, fmt::format("the name \"{}\" occurs twice in one object", clean_server_text(repeated)));
    if (!parsed.is_object()) return fail(failure::invalid_input, fmt::format("the body must be a JSON object, not {}", kind_of(parsed)));
    return parsed;
  } catch (const json::parse_error& e) {
    return malformed(e.byte > 0 ? e.byte - 1 : 0, "malformed JSON");
  } catch (const json::exception&) {
    return fail(failure::invalid_input, "malformed JSON: a number is out of range");
  }
}

std::string object_reader::path_of(std::string_view name) const {
  return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
}

const json* object_reader::value(const char* name) {
  known_.insert(name);
  const auto at = object_.find(name);
  return at == object_.end() ? nullptr : &*at;
}

const std::string* object_reader::string_at(const char* name) {
  const auto* v = value(name);
  if (v == nullptr) return nullptr;
  if (!v->is_string()) {
    wrong(name, fmt::format("must be a text, not {}", kind_of(*v)));
    return nullptr;
  }
  return v->get_ptr<const std::string*>();
}

std::optional<std::string> object_reader::text(const char* name, const text_rule& rule) {
  const auto* s = string_at(name);
  if (s == nullptr) return std::nullopt;
  if (auto bad = rule(*s)) {
    wrong(name, std::move(*bad));
    return std::nullopt;
  }
  return *s;
}

std::optional<secret<>> object_reader::hidden(const char* name, const text_rule& rule) {
  auto plain = text(name, rule);
  if (!plain) return std::nullopt;
  return secret<>(std::move(*plain));
}

std::optional<bool> object_reader::boolean(const char* name) {
  const auto* v = value(name);
  if (v == nullptr) return std::nullopt;
  if (!v->is_boolean()) {
    wrong(name, fmt::format("must be true or false, not {}", kind_of(*v)));
    return std::nullopt;
  }
  return v->get<bool>();
}

std::optional<std::int64_t> object_reader::integer(const char* name, std::int64_t least, std::int64_t most) {
  const auto* v = value(name);
  if (v == nullptr) return std::nullopt;
  if (!v->is_number_integer()) {
    wrong(name,
          fmt::format("must be a whole number from {} to {}{}", least, most, v->is_number() ? "" : std::string(", not ") + kind_of(*v)));
    return std::nullopt;
  }
  const bool huge = v->is_number_unsigned() && v->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
  const auto n = huge ? INT64_MAX : v->get<std::int64_t>();
  if (huge || n < least || n > most) {
    wrong(name, fmt::format("must be a whole number from {} to {}", least, most));
    return std::nullopt;
  }
  return n;
}

std::optional<std::vector<std::string>> object_reader::texts(const char* name, std::size_t most, const text_rule& rule) {
  const auto* v = value(name);
  if (v == nullptr) return std::nullopt;
  if (!v->is_array() || v->size() > most) {
    wrong(name, fmt::format("must be a list of at most {} texts", most));
    return std::nullopt;
  }
  std::vector<std::string> all;
  for (std::size_t i = 0; i < v->size(); ++i) {
    const auto field = fmt::format("{}[{}]", path_of(name), i);
    const auto& item = (*v)[i];
    if (!item.is_string()) {
      errors_.add(field, fmt::format("must be a text, not {}", kind_of(item)));
      continue;
    }
    const auto& s = item.get_ref<const std::string&>();
    if (auto bad = rule(s))
      errors_.add(field, std::move(*bad));
    else
      all.push_back(s);
  }
  return all;
}

const json* object_reader::object(const char* name) {
  const auto* v = value(name);
  if (v == nullptr) return nullptr;
  if (!v->is_object()) {
    wrong(name, fmt::format("must be an object, not {}", kind_of(*v)));
    return nullptr;
  }
  return v;
}

void object_reader::required(const char* name, const std::string& what) {
  known_.insert(name);
  if (!has(name)) wrong(name, what);
}

void object_reader::refused(const char* name, const std::string& why) {
  if (value(name) != nullptr) wrong(name, why);
}

void object_reader::finish() {
  for (const auto& [name, unused] : object_.items()) {
    if (known_.contains(name)) continue;
    std::string allowed;
    for (const auto& k : known_) allowed += (allowed.empty() ? "" : ", ") + k;
    errors_.add(path_of(clean_server_text(name)), "is not a known field; known are: " + allowed);
  }
}

}  // namespace mailherd::api
