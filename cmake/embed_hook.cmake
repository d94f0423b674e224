# cmake/embed_hook.cmake — script: writes the assembly that holds the hook's bytes and SHA-256.
file(SHA256 ${HOOK} sha256)
file(WRITE ${OUTPUT} "\
  .section .rodata.mirrord_hook, \"a\", %progbits
  .global mirrord_hook_begin, mirrord_hook_end, mirrord_hook_sha256
  .balign 16
mirrord_hook_begin:
  .incbin \"${HOOK}\"
mirrord_hook_end:
mirrord_hook_sha256:
  .asciz \"${sha256}\"
  .section .note.GNU-stack, \"\", %progbits
")
