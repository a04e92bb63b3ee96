# Writes OUT, a C++ file that holds the text of IN as numbers: string literals have a length limit, numbers have none.
file(READ "${IN}" bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
file(WRITE "${OUT}" "#include \"api/openapi.hpp\"
namespace mailherd::api {
namespace {
constexpr unsigned char bytes[] = {${bytes}};
}
std::string_view openapi_document() noexcept { return {reinterpret_cast<const char*>(bytes), sizeof bytes}; }
}  // namespace mailherd::api
")
