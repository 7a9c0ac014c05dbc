    .pushsection .text.ipc_shm_open_or_create, "ax", @progbits
    .globl ipc_shm_open_or_create
    .type ipc_shm_open_or_create, @function
    .p2align 2
ipc_shm_open_or_create:
    .cfi_startproc
    .cfi_personality 0x1b, {personality}
    addi sp, sp, -96
    .cfi_def_cfa_offset 96
    sd ra, 88(sp)
    .cfi_offset ra, -8
    sd a0, 0(sp)
    sd a1, 8(sp)
    sd a2, 16(sp)
    sd a3, 24(sp)
    sd a4, 32(sp)
    sd a5, 40(sp)
    sd a6, 48(sp)
    mv a0, sp
    call {begin}
    beqz a0, 2f
    ld a0, 56(sp)
    ld a1, 8(sp)
    ld a2, 24(sp)
    ld t1, 16(sp)
    jalr t1
    sw a0, 72(sp)
    mv a0, sp
    call {finish}
2:
    lw a0, 76(sp)
    ld ra, 88(sp)
    .cfi_restore ra
    addi sp, sp, 96
    .cfi_def_cfa_offset 0
    ret
    .cfi_endproc
    .size ipc_shm_open_or_create, . - ipc_shm_open_or_create
    .popsection
