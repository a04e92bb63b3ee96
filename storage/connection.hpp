// storage/connection: one PostgreSQL connection, its transactions, and what its exceptions mean.
//
// Owns:   the pqxx connection, the statements prepared on it, the tenant scope of each transaction (row-level security).
// Never:  lets an exception out of `transact`; reconnects (a lost connection is thrown away and made anew by the executor); repeats a
//         transaction by itself.
// Used by: the stores of this room. Threads: one at a time. Blocks.
#pragma once

#include <pqxx/pqxx>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "core/ids.hpp"
#include "core/model.hpp"
#include "core/result.hpp"
#include "storage/sql.hpp"

namespace mailherd::store {

/// A parameter that may be NULL; always sent as text.
struct nullable {
  std::optional<std::string> text;
};

}  // namespace mailherd::store

template <>
struct pqxx::string_traits<mailherd::store::nullable> {
  static constexpr const char* name() noexcept { return "nullable"; }
  static constexpr bool has_null() noexcept { return true; }
  static bool is_null(const mailherd::store::nullable& n) { return !n.text; }
  static std::string to_string(const mailherd::store::nullable& n) { return *n.text; }
};

namespace mailherd::store {

/// PostgreSQL's text holds UTF-8 without NUL; what is not is replaced by U+FFFD.
std::string clean_text(std::string_view text);

/// Array parameters.
std::string array_of(const std::vector<std::int64_t>& values);
std::string array_of(const std::vector<std::optional<std::int64_t>>& values);
std::string array_of(const std::vector<std::string>& values);   ///< cleaned

inline std::int64_t micros(wall_time t) { return t.time_since_epoch().count(); }
inline wall_time time_of(std::int64_t us) { return wall_time{std::chrono::microseconds(us)}; }

// Parameters as pqxx takes them. Binary values travel in binary.
inline std::int64_t param(std::int64_t v) { return v; }
inline std::int64_t param(int v) { return v; }
inline std::int64_t param(unsigned v) { return v; }
inline std::int64_t param(std::size_t v) { return static_cast<std::int64_t>(v); }
inline const char* param(bool v) { return v ? "t" : "f"; }
inline std::string param(const std::string& v) { return clean_text(v); }
inline std::string param(std::string_view v) { return clean_text(v); }
inline std::string param(const char* v) { return v; }
inline std::int64_t param(wall_time v) { return micros(v); }
inline pqxx::binarystring param(const pqxx::binarystring& v) { return v; }
inline pqxx::binarystring param(const sha256_digest& v) { return pqxx::binarystring(v.data(), v.size()); }
template <char P>
std::int64_t param(strong_id<P> v) {
  return v.value;
}
template <class T>
nullable param(const std::optional<T>& v) {
  if (!v) return {};
  if constexpr (std::is_same_v<T, std::string>) {
    return {clean_text(*v)};
  } else {
    return {std::to_string(static_cast<std::int64_t>(param(*v)))};
  }
}
inline nullable param(const nullable& v) { return v; }

inline pqxx::binarystring binary(std::string_view bytes) { return pqxx::binarystring(bytes.data(), bytes.size()); }

// Columns.
inline std::optional<wall_time> time_or_none(const pqxx::field& f) {
  return f.is_null() ? std::nullopt : std::optional(time_of(f.as<std::int64_t>()));
}
inline std::optional<std::int64_t> number_or_none(const pqxx::field& f) {
  return f.is_null() ? std::nullopt : std::optional(f.as<std::int64_t>());
}
inline std::string text(const pqxx::field& f) { return f.is_null() ? std::string() : std::string(f.c_str(), f.size()); }
inline std::string bytes(const pqxx::field& f) { return f.is_null() ? std::string() : pqxx::binarystring(f).str(); }

/// Whom the transaction may see: one tenant, or everybody ("*": the node's own work, operators).
struct scope {
  tenant_id only;   ///< none: everybody
};

class connection {
 public:
  /// Connects, gives up superuser rights, sets time limits. Blocks up to 5 s.
  static result<std::unique_ptr<connection>> open(const std::string& url);

  /// Runs `work()` (returning result<T>) in a transaction; commits if it succeeded. Errors: what `work` returned, or what became of the
  /// statement. store_unavailable after COMMIT was sent means: perhaps committed.
  template <class Work>
  auto transact(scope who, Work work) -> decltype(work()) {
    using answer = decltype(work());
    try {
      begin(who);
      answer a = work();
      if (a) {
        commit();
      } else {
        rollback();
      }
      return a;
    } catch (...) {
      return answer(fail(failed()));
    }
  }

  /// Runs one statement, which is a transaction of its own: one round trip, two if the connection spoke for somebody else before.
  template <class... Args>
  result<pqxx::result> once(scope who, const sql::query& q, const Args&... args) {
    try {
      speak_for(who);
      return run(q, args...);
    } catch (...) {
      return fail(failed());
    }
  }

  /// One statement of the transaction under way. Throws what pqxx throws: only inside `transact`.
  template <class... Args>
  pqxx::result run(const sql::query& q, const Args&... args) {
    prepare(q);
    return work_->exec_prepared(q.name, param(args)...);
  }

  void prepare(const sql::query& q);

  /// A script without parameters (a migration, a partition's end), in a transaction of its own. `text` is never built from input.
  result<void> execute(const std::string& text);
  [[nodiscard]] std::string quoted(const std::string& identifier);

  [[nodiscard]] bool broken() const noexcept { return broken_; }

  /// The error of the exception being handled. Anything that says nothing about the statement itself is store_unavailable.
  static error describe_exception(bool& broken);

 private:
  explicit connection(const std::string& url);
  void begin(scope who);
  void speak_for(scope who);
  void commit();
  void rollback();
  error failed() noexcept;

  pqxx::connection link_;
  std::unique_ptr<pqxx::nontransaction> work_;
  std::unordered_set<const sql::query*> prepared_;
  std::string session_scope_;     ///< mailherd.tenant outside of transactions; empty: never set
  bool in_transaction_ = false;
  bool broken_ = false;
};

/// pqxx would renew a lost connection silently, without its role and settings.
void never_reconnect(pqxx::connection_base& link);

/// A URL with limits on how long connecting and a silent peer may take, unless it sets them itself.
std::string with_limits(const std::string& url);

}  // namespace mailherd::store
