// api/json_input: reading a request's JSON so that every wrong field is named, all at once.
//
// Owns:   parsing with position, and `object_reader`: typed access that collects errors and finds unknown fields at any depth.
// Never:  stops at the first mistake; repeats a value in a message (it may be a secret).
// Used by: tenant, app and channel input.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "api/problem.hpp"
#include "core/model.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"

namespace mailherd::api {

using json = nlohmann::json;

/// A JSON object out of a body. Error: invalid_input, detail for people with line and column. Checks UTF-8, nesting
/// (limits::api_json_depth), repeated names (which readers take differently: RFC 8259, 4) and that the outermost value is an object.
result<json> parse_object(std::string_view body);

/// Errors of one request, in the order found.
class field_errors {
 public:
  void add(std::string field, std::string message) { all_.push_back({std::move(field), std::move(message)}); }
  [[nodiscard]] bool empty() const { return all_.empty(); }
  [[nodiscard]] const std::vector<field_error>& all() const { return all_; }

 private:
  std::vector<field_error> all_;
};

/// What is wrong with a text and what is allowed, or nothing.
using text_rule = std::function<std::optional<std::string>(const std::string&)>;

/// One JSON object under inspection. Every getter notes the field as known; `finish` reports the others.
/// A field that is absent gives nullopt without error (unless `required`); a wrong one gives nullopt with an error.
class object_reader {
 public:
  object_reader(const json& object, std::string path, field_errors& errors) : object_(object), path_(std::move(path)), errors_(errors) {}

  [[nodiscard]] bool has(std::string_view name) const { return object_.contains(name); }
  [[nodiscard]] bool is_null(std::string_view name) const { return has(name) && object_.at(std::string(name)).is_null(); }

  std::optional<std::string> text(const char* name, const text_rule& rule);
  std::optional<secret<>> hidden(const char* name, const text_rule& rule);
  std::optional<bool> boolean(const char* name);
  std::optional<std::int64_t> integer(const char* name, std::int64_t least, std::int64_t most);
  std::optional<std::vector<std::string>> texts(const char* name, std::size_t most, const text_rule& rule);
  /// The object of that name; nullptr if absent or wrong.
  const json* object(const char* name);

  template <class Enum>
  std::optional<Enum> name_of(const char* name) {
    const auto* value = string_at(name);
    if (value == nullptr) return std::nullopt;
    auto parsed = parse_name<Enum>(*value);
    if (!parsed) wrong(name, "must be one of: " + names_of<Enum>());
    return parsed;
  }

  /// Adds an error unless the field is there.
  void required(const char* name, const std::string& what = "is required");
  /// Marks a field as known and refuses it with these words if it is there.
  void refused(const char* name, const std::string& why);
  void wrong(const char* name, std::string message) { errors_.add(path_of(name), std::move(message)); }
  /// Reports every field that nobody asked for.
  void finish();

  [[nodiscard]] std::string path_of(std::string_view name) const;
  [[nodiscard]] field_errors& errors() { return errors_; }

 private:
  const json* value(const char* name);
  const std::string* string_at(const char* name);

  const json& object_;
  std::string path_;
  field_errors& errors_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace mailherd::api
