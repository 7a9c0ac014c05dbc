    .pushsection .text.ipc_shm_open_or_create, "ax", @progbits
    .globl ipc_shm_open_or_create
    .type ipc_shm_open_or_create, @function
    .p2align 2
ipc_shm_open_or_create:
    .cfi_startproc
    .cfi_personality 0x1b, {personality}
    stp x29, x30, [sp, #-96]!
    .cfi_def_cfa_offset 96
    .cfi_offset x29, -96
    .cfi_offset x30, -88
    mov x29, sp
    stp x0, x1, [sp, #16]
    stp x2, x3, [sp, #32]
    stp x4, x5, [sp, #48]
    str x6, [sp, #64]
    add x0, sp, #16
    bl {begin}
    cbz w0, 2f
    ldr x0, [sp, #72]
    ldr x1, [sp, #24]
    ldr x2, [sp, #40]
    ldr x9, [sp, #32]
    blr x9
    str w0, [sp, #88]
    add x0, sp, #16
    bl {finish}
2:
    ldr w0, [sp, #92]
    ldp x29, x30, [sp], #96
    .cfi_restore x29
    .cfi_restore x30
    .cfi_def_cfa_offset 0
    ret
    .cfi_endproc
    .size ipc_shm_open_or_create, . - ipc_shm_open_or_create
    .popsection
