// hook/placeholder.cpp — one exported symbol, so that the library can be linked before its hooks exist.

extern "C" __attribute__((visibility("default"))) const char* mirrord_layer_version() {
  return "0.1.0";
}
