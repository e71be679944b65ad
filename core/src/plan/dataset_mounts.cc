// From a Dataset's mounts and options to the FUSE client's.
#include <fmt/format.h>

#include "sluice/core/json_access.h"
#include "sluice/core/names.h"
#include "sluice/core/runtime_plan.h"

namespace sluice {
namespace {

struct Options {
  std::map<std::string, std::string> plain;
  std::map<std::string, std::string> files;
};

// One level's options: the mount's own, or the shared ones.
Result<Options> ReadOptions(const Json& plain, const Json& encrypted, const std::string& field,
                            const std::string& encrypted_field) {
  Options options;
  for (const auto& [key, value] : plain.items()) {
    if (!value.is_string()) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("{}.{}: must be a string; put it into quotes", field, key));
    }
    options.plain[key] = value.get<std::string>();
  }
  std::size_t index = 0;
  for (const Json& entry : encrypted) {
    const std::string place = fmt::format("{}[{}]", encrypted_field, index++);
    const std::string name = StringAt(entry, "/name");
    const std::string secret = StringAt(entry, "/valueFrom/secretKeyRef/name");
    const std::string key = StringAt(entry, "/valueFrom/secretKeyRef/key");
    if (name.empty() || secret.empty() || key.empty()) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("{}: needs name, valueFrom.secretKeyRef.name and "
                              "valueFrom.secretKeyRef.key",
                              place));
    }
    if (secret.find('/') != std::string::npos || key.find('/') != std::string::npos ||
        key == ".." || key == "." || secret == ".." || secret == ".") {
      return Fail(
          Code::kInvalidArgument,
          fmt::format("{}.valueFrom.secretKeyRef: no names of a Secret and its key", place));
    }
    if (options.plain.contains(name) || options.files.contains(name)) {
      return Fail(Code::kInvalidArgument,
                  fmt::format("{}: option \"{}\" is given twice; keep one", place, name));
    }
    options.files[name] = fmt::format("{}/{}/{}", names::kSecretRoot, secret, key);
  }
  return options;
}

// The mount's own options win over the shared ones, whichever of them is encrypted.
void MergeShared(const Options& shared, Options& own) {
  const auto given = [&](const std::string& name) {
    return own.plain.contains(name) || own.files.contains(name);
  };
  Options add;
  for (const auto& [name, value] : shared.plain) {
    if (!given(name)) add.plain[name] = value;
  }
  for (const auto& [name, file] : shared.files) {
    if (!given(name)) add.files[name] = file;
  }
  own.plain.merge(add.plain);
  own.files.merge(add.files);
}

bool IsReadOnlyDataset(const Json& spec) {
  const Json& modes = ItemsOf(spec, "accessModes");
  if (modes.empty()) return true;
  for (const Json& mode : modes) {
    if (mode == "ReadOnlyMany") return true;
  }
  return false;
}

}  // namespace

Result<std::vector<MountConfig>> MountsOf(const Json& dataset) {
  const Json& spec = ChildOf(dataset, "spec");
  const auto shared =
      ReadOptions(ChildOf(spec, "sharedOptions"), ItemsOf(spec, "sharedEncryptOptions"),
                  "spec.sharedOptions", "spec.sharedEncryptOptions");
  if (!shared) return Fail(shared.error());
  const bool read_only = IsReadOnlyDataset(spec);
  std::vector<MountConfig> mounts;
  for (const Json& entry : ItemsOf(spec, "mounts")) {
    const std::string field = fmt::format("spec.mounts[{}]", mounts.size());
    if (!entry.is_object()) return Fail(Code::kInvalidArgument, field + ": must be an object");
    auto own = ReadOptions(ChildOf(entry, "options"), ItemsOf(entry, "encryptOptions"),
                           field + ".options", field + ".encryptOptions");
    if (!own) return Fail(own.error());
    MergeShared(*shared, *own);
    mounts.push_back({.mount_point = StringOf(entry, "mountPoint"),
                      .name = StringOf(entry, "name"),
                      .path = StringOf(entry, "path"),
                      .options = std::move(own->plain),
                      .secret_files = std::move(own->files),
                      .read_only = read_only || FlagOf(entry, "readOnly")});
  }
  if (mounts.empty()) {
    return Fail(Code::kInvalidArgument,
                "spec.mounts: is empty; add a mount such as {mountPoint: \"s3://bucket/prefix\"}");
  }
  if (Status valid = ValidateMounts(mounts, "spec.mounts"); !valid) return Fail(valid.error());
  return mounts;
}

}  // namespace sluice
